/* A program with memory of every kind, filled with known values. It stops itself; what goes on then does what its input says, one letter
   each: whether all is as it was (c), what programs do to their memory (o), and writing everywhere (w). What is wrong is told. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef DYNAMIC
#include <dlfcn.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

#define M (1 << 20)
#define COUNT(bytes) ((bytes) / sizeof(uint64_t))
#define FAIL(...) do { printf(__VA_ARGS__); putchar('\n'); fflush(stdout); _exit(1); } while (0)

static uint64_t data[COUNT(M)] = { 1, 2, 3 }; /* a file's memory, written to */
static uint64_t bss[COUNT(4 * M)];
static uint64_t *chunks[96];                  /* a heap in small pieces */
static uint64_t *raw;                         /* memory that brk gave */
static uint64_t *plain, *sparse, *readonly, *of_file, *zeroes;
static size_t of_file_length;

static void fill(uint64_t *at, size_t bytes, uint64_t seed) {
    for (size_t i = 0; i < COUNT(bytes); i++) at[i] = seed * 0x9e3779b97f4a7c15u + i;
}
static void same(const char *what, const uint64_t *at, size_t bytes, uint64_t seed) {
    for (size_t i = 0; i < COUNT(bytes); i++)
        if (at[i] != seed * 0x9e3779b97f4a7c15u + i) FAIL("%s differs at %zu: %lx", what, i * 8, (long)at[i]);
}
static void zero(const char *what, const void *at, size_t bytes) {
    const char *p = at;
    for (size_t i = 0; i < bytes; i++) if (p[i]) FAIL("%s is not zero at %zu", what, i);
}
static uint64_t *map(size_t bytes) {
    void *at = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) FAIL("no memory");
    return at;
}
static char *set_break(char *to) { return (char *)syscall(SYS_brk, to); }

static void check(void) {
    same("data", data, sizeof data, 1);
    same("bss", bss, sizeof bss, 2);
    for (int i = 0; i < 96; i++) same("a chunk", chunks[i], 64 << 10, 100 + i);
    same("raw", raw, 3 * M, 3);
    same("plain", plain, 9 * M, 4);
    for (int i = 0; i < 16; i++) {
        same("sparse", sparse + COUNT(i * M), 4096, 200 + i);
        zero("what is between", sparse + COUNT(i * M + 4096), 4096);
    }
    same("readonly", readonly, M, 5);
    same("of_file", of_file, of_file_length, 6);
    same("zeroes", zeroes, 3 * M, 7);
}

static int deep(int depth) {
    volatile char room[4096];
    memset((void *)room, depth, sizeof room);
    if (depth && deep(depth - 1) != depth - 1) return -1;
    return room[17] == (char)depth ? depth : -1;
}

static void operate(void) {
    /* What was freed and is given again is as its functions say. */
    for (int i = 0; i < 96; i += 2) free(chunks[i]);
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    for (int i = 0; i < 64; i++) {
        size_t size = 1000 + i * 777;
        char *got = calloc(1, size);
        zero("calloc", got, size);
        memset(got, 0x5a, size);
        if (i % 3 == 0) free(got);
    }
    for (int i = 1; i < 96; i += 2) {
        chunks[i] = realloc(chunks[i], (128 << 10) + i);
        same("realloc", chunks[i], 64 << 10, 100 + i);
    }
    /* The break grows, shrinks, and gives zeroes where it grows again. */
    char *top = set_break(0), *more = set_break(top + 2 * M);
    if (more == top + 2 * M) {
        zero("the new heap", top, 2 * M);
        memset(top, 0x5a, 2 * M);
        if (set_break(top + M / 2) != top + M / 2 || set_break(top + M) != top + M) FAIL("the break does not move");
        zero("the heap given again", top + M / 2, M / 2);
        if (top[17] != 0x5a) FAIL("the heap that stayed");
    }
    /* Memory of no file: zeroes again, larger, elsewhere, in parts, gone. */
    if (madvise(plain + COUNT(M), M, MADV_DONTNEED)) FAIL("MADV_DONTNEED");
    zero("what is not needed", plain + COUNT(M), M);
    same("before it", plain, M, 4);
    if (plain[COUNT(2 * M)] != 4 * 0x9e3779b97f4a7c15u + COUNT(2 * M)) FAIL("behind it");
    if (madvise(plain + COUNT(2 * M), M, MADV_FREE)) FAIL("MADV_FREE");
    plain = mremap(plain, 9 * M, 20 * M, MREMAP_MAYMOVE);
    if (plain == MAP_FAILED) FAIL("mremap");
    zero("what mremap added", plain + COUNT(9 * M), 11 * M);
    same("what mremap kept", plain, M, 4);
    if (munmap(plain + COUNT(4 * M), 2 * M)) FAIL("munmap");
    if (plain[COUNT(7 * M)] != 4 * 0x9e3779b97f4a7c15u + COUNT(7 * M)) FAIL("behind what was unmapped");
    /* What could not be written can be when it is so again. */
    if (mprotect(readonly, M, PROT_READ | PROT_WRITE)) FAIL("mprotect");
    readonly[0] ^= 1;
    if (deep(1000) != 1000) FAIL("a deep stack");
#ifdef DYNAMIC
    void *library = dlopen("libm.so.6", RTLD_NOW);
    double (*cosine)(double) = library ? (double (*)(double))dlsym(library, "cos") : 0;
    if (!cosine || cosine(0.0) != 1.0) FAIL("dlopen: %s", dlerror());
#endif
    pid_t child = fork();
    if (child == 0) {
        same("in a child", bss, sizeof bss, 2);
        fill(bss, sizeof bss, 77);
        _exit(42);
    }
    int status = 0;
    if (child > 0 && (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 42)) FAIL("a child");
    same("after the child", bss, sizeof bss, 2);
}

static void scribble(void) {
    fill(data, sizeof data, 51);
    fill(bss, sizeof bss, 52);
    for (int i = 1; i < 96; i += 2) fill(chunks[i], 64 << 10, 53);
    fill(raw, 3 * M, 54);
    fill(of_file, of_file_length, 55);
    fill(zeroes, 3 * M, 56);
    for (int i = 0; i < 16; i++) fill(sparse + COUNT(i * M), M / 2, 57);
}

int main(int count, char **words) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
#endif
    char *top = set_break(0);
    fill(data, sizeof data, 1);
    fill(bss, sizeof bss, 2);
    for (int i = 0; i < 96; i++) fill(chunks[i] = malloc(64 << 10), 64 << 10, 100 + i);
    top = set_break(0);
    raw = (uint64_t *)(((uintptr_t)top + 4095) & ~4095ul);
    if (set_break((char *)raw + 4 * M) != (char *)raw + 4 * M) FAIL("no break");
    fill(raw, 3 * M, 3);
    fill(plain = map(9 * M), 9 * M, 4);
    sparse = mmap(0, 16 * M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int i = 0; i < 16; i++) fill(sparse + COUNT(i * M), 4096, 200 + i);
    fill(readonly = map(M), M, 5);
    mprotect(readonly, M, PROT_READ);
    int file = open(words[0], O_RDONLY), none = open("/dev/zero", O_RDWR);
    of_file_length = lseek(file, 0, SEEK_END) & ~4095l;
    of_file = mmap(0, of_file_length, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (of_file == MAP_FAILED) FAIL("no file");
    fill(of_file, of_file_length, 6);
    zeroes = mmap(0, 3 * M, PROT_READ | PROT_WRITE, MAP_PRIVATE, none, 0);
    if (zeroes == MAP_FAILED) FAIL("no zeroes");
    fill(zeroes, 3 * M, 7);
    close(file);
    close(none);
    raise(SIGSTOP);
    char letter;
    while (read(0, &letter, 1) == 1) {
        if (letter == 'c') check();
        if (letter == 'o') operate();
        if (letter == 'w') scribble();
    }
    printf("right\n");
    fflush(stdout);
    _exit(0);
}
