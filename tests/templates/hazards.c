/* Makes itself one thing that is hard to copy, stops itself, and goes on to use it: what each product must find is written to standard output. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *own;
static volatile int number;

static void must(int good) {
    if (!good) {
        perror("hazards");
        _exit(99);
    }
}

static void ready(void) { must(raise(SIGSTOP) == 0); }

static void say(const char *text, long count) { must(write(1, text, (size_t)count) == count); }

static void show(int file) {
    char text[64];
    long count = read(file, text, sizeof text);
    must(count >= 0);
    say(text, count);
}

static char *at(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", own, name);
    return path;
}

__attribute__((noreturn)) static void *wait_for_ever(void *nothing) {
    pthread_setname_np(pthread_self(), "a helper");
    must(write(*(int *)nothing, "", 1) == 1);
    for (;;) pause();
}

static void be_child(int result) {
    must(result >= 0);
    if (result == 0)
        for (;;) pause();
}

/* What each word makes. */
static void make(const char *what) {
    int pair[2];
    char byte = 0;
    void *page = 0;
    if (!strcmp(what, "thread")) {
        static int told[2];
        pthread_t thread;
        must(pipe(told) == 0);
        must(pthread_create(&thread, 0, wait_for_ever, &told[1]) == 0);
        must(read(told[0], &byte, 1) == 1);
        close(told[0]), close(told[1]);
    } else if (!strcmp(what, "child")) {
        be_child(fork());
    } else if (!strcmp(what, "zombie")) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        siginfo_t end;
        must(waitid(P_PID, (id_t)child, &end, WEXITED | WNOWAIT) == 0);
    } else if (!strcmp(what, "sibling")) {
        be_child((int)syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0));
    } else if (!strcmp(what, "escaped")) {
        must(pipe(pair) == 0);
        long child = syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
        if (child == 0) must(setsid() > 0 && write(pair[1], "", 1) == 1);
        be_child((int)child);
        must(read(pair[0], &byte, 1) == 1 && close(pair[0]) == 0 && close(pair[1]) == 0);
    } else if (!strcmp(what, "orphan")) {
        pid_t child = fork();
        if (child == 0) {
            be_child(fork());
            _exit(0);
        }
        must(waitpid(child, 0, 0) == child);
    } else if (!strcmp(what, "second-channel")) {
        must(dup(1000) >= 0);
    } else if (!strcmp(what, "no-channel")) {
        must(close(1000) == 0);
    } else if (!strcmp(what, "high-number")) {
        must(fcntl(open("/dev/null", O_RDONLY), F_DUPFD, 1003) >= 1003);
    } else if (!strcmp(what, "scratch-number")) {
        must(dup2(open("/dev/null", O_RDONLY), 999) == 999);
    } else if (!strcmp(what, "noise")) {
        must(write(1000, "noise", 5) == 5);
    } else if (!strcmp(what, "socket")) {
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    } else if (!strcmp(what, "epoll")) {
        must(epoll_create1(0) >= 0);
    } else if (!strcmp(what, "timerfd")) {
        must(timerfd_create(CLOCK_MONOTONIC, 0) >= 0);
    } else if (!strcmp(what, "signalfd")) {
        sigset_t set;
        sigemptyset(&set);
        must(signalfd(-1, &set, 0) >= 0);
    } else if (!strcmp(what, "pidfd")) {
        must(syscall(SYS_pidfd_open, getpid(), 0) >= 0);
    } else if (!strcmp(what, "full-pipe")) {
        must(pipe(pair) == 0 && write(pair[1], "abc", 3) == 3);
    } else if (!strcmp(what, "flock")) {
        must(flock(open(at("file"), O_RDONLY), LOCK_SH) == 0);
    } else if (!strcmp(what, "fcntl-lock")) {
        struct flock lock = {.l_type = F_RDLCK};
        must(fcntl(open(at("file"), O_RDONLY), F_SETLK, &lock) == 0);
    } else if (!strcmp(what, "unnamed-file")) {
        must(open(own, O_TMPFILE | O_RDWR, 0600) >= 0);
    } else if (!strcmp(what, "memfd")) {
        must(memfd_create("two words\n", 0) >= 0);
    } else if (!strcmp(what, "proc-file")) {
        must(open("/proc/uptime", O_RDONLY) >= 0);
    } else if (!strcmp(what, "signals-input")) {
        must(pipe(pair) == 0 && fcntl(pair[0], F_SETFL, O_ASYNC) == 0);
    } else if (!strcmp(what, "fifo")) {
        must(open(at("fifo"), O_RDONLY | O_NONBLOCK) >= 0);
    } else if (!strcmp(what, "many-files")) {
        for (int file = 0; file < 201; file++) must(open(at("file"), O_RDONLY) >= 0);
    } else if (!strcmp(what, "changed-output")) {
        must(fcntl(1, F_SETFL, O_NONBLOCK) == 0);
    } else if (!strcmp(what, "closed-input")) {
        must(close(0) == 0);
    } else if (!strcmp(what, "second-output")) {
        must(dup(1) >= 0);
    } else if (!strcmp(what, "shared-anonymous")) {
        must(mmap(0, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    } else if (!strcmp(what, "shared-file")) {
        int file = open(at("shared"), O_RDWR | O_CREAT, 0600);
        must(file >= 0 && ftruncate(file, 4096) == 0);
        must(mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) != MAP_FAILED && close(file) == 0);
    } else if (!strcmp(what, "kept-from-copies") || !strcmp(what, "wiped") || !strcmp(what, "locked")) {
        page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(page != MAP_FAILED);
        if (*what == 'l') must(mlock(page, 4096) == 0);
        else must(madvise(page, 4096, *what == 'w' ? MADV_WIPEONFORK : MADV_DONTFORK) == 0);
    } else if (!strcmp(what, "mapped")) {
        int file = open("/data/file", O_RDONLY);
        must(file >= 0 && mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0) != MAP_FAILED && close(file) == 0);
    } else if (!strcmp(what, "timer")) {
        timer_t timer;
        struct sigevent event = {.sigev_notify = SIGEV_NONE};
        must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        must(timer_delete(timer) == 0);
        must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    } else if (!strcmp(what, "alarm")) {
        alarm(100000);
    } else if (!strcmp(what, "virtual-timer")) {
        struct itimerval value = {.it_value = {.tv_sec = 100000}};
        must(setitimer(ITIMER_VIRTUAL, &value, 0) == 0);
    } else if (!strcmp(what, "death-signal")) {
        must(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
    } else if (!strcmp(what, "subreaper")) {
        must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    } else if (!strcmp(what, "closing-output")) {
        must(fcntl(1, F_SETFD, FD_CLOEXEC) == 0);
    } else if (!strcmp(what, "waiting-signal")) {
        sigset_t set;
        sigemptyset(&set), sigaddset(&set, SIGUSR1);
        must(sigprocmask(SIG_BLOCK, &set, 0) == 0 && raise(SIGUSR1) == 0);
    } else if (!strcmp(what, "robust-lock")) {
        static pthread_mutex_t lock;
        pthread_mutexattr_t how;
        pthread_mutexattr_init(&how);
        must(pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST) == 0);
        must(pthread_mutex_init(&lock, &how) == 0 && pthread_mutex_lock(&lock) == 0);
    } else if (!strcmp(what, "filter")) {
        struct sock_filter all[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
        struct sock_fprog filter = {1, all};
        must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    } else if (!strcmp(what, "number")) {
        number = getpid();
    } else if (!strcmp(what, "nothing")) {
    } else {
        errno = EINVAL;
        must(0);
    }
}

/* What is cured: each product finds it as if it were alone. */
static int use(const char *what) {
    char text[64] = "";
    int pair[2];
    if (!strcmp(what, "offset")) {
        /* Two that share an offset, and one beside them that does not. */
        int file = open(at("file"), O_RDONLY), other = open(at("file"), O_RDONLY | O_CLOEXEC);
        must(file >= 0 && other >= 0 && read(file, text, 3) == 3 && read(other, text, 3) == 3);
        int same = dup(file);
        ready();
        must(read(file, text, 2) == 2), say(text, 2);
        must(read(same, text, 2) == 2), say(text, 2);
        must(read(other, text, 2) == 2), say(text, 2);
        must(fcntl(other, F_GETFD) == FD_CLOEXEC && fcntl(file, F_GETFD) == 0);
        must((fcntl(file, F_GETFL) & O_ACCMODE) == O_RDONLY && write(file, "", 1) == -1);
    } else if (!strcmp(what, "append")) {
        int file = open(at("log"), O_WRONLY | O_APPEND | O_CREAT, 0600);
        must(file >= 0);
        ready();
        must((fcntl(file, F_GETFL) & O_APPEND) != 0 && write(file, "line\n", 5) == 5);
    } else if (!strcmp(what, "renamed")) {
        int file = open(at("file"), O_RDONLY), gone = open(at("gone"), O_RDWR | O_CREAT, 0600);
        must(write(gone, "goneby", 6) == 6 && close(gone) == 0);
        gone = open(at("gone"), O_RDONLY);
        must(lseek(gone, 4, SEEK_SET) == 4 && unlink(at("gone")) == 0 && lseek(file, 8, SEEK_SET) == 8);
        ready();
        show(gone), show(file);
    } else if (!strcmp(what, "sealed")) {
        int file = memfd_create("sealed (deleted)", MFD_ALLOW_SEALING);
        must(write(file, "sealed", 6) == 6 && lseek(file, 2, SEEK_SET) == 2);
        must(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) == 0);
        must(mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) != MAP_FAILED);
        ready();
        show(file);
    } else if (!strcmp(what, "folder")) {
        int count = 0;
        DIR *folder = opendir(at("folder"));
        must(folder != 0 && readdir(folder) != 0);
        ready();
        while (readdir(folder)) count++;
        must(closedir(folder) == 0);
        say(text, snprintf(text, sizeof text, "%d", count));
    } else if (!strcmp(what, "pipe")) {
        must(pipe2(pair, O_CLOEXEC) == 0 && fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
        must(fcntl(pair[0], F_SETPIPE_SZ, 8192) == 8192);
        ready();
        must(read(pair[0], text, 1) == -1 && errno == EAGAIN);
        must(write(pair[1], "own", 3) == 3);
        show(pair[0]);
        must(fcntl(pair[1], F_GETFD) == FD_CLOEXEC && fcntl(pair[1], F_GETPIPE_SZ) == 8192);
        /* What is left in it no other may find. */
        must(write(pair[1], "left", 4) == 4);
    } else if (!strcmp(what, "half-pipe")) {
        must(pipe(pair) == 0 && close(pair[1]) == 0);
        ready();
        must(read(pair[0], text, 1) == 0);
        say("end", 3);
    } else if (!strcmp(what, "counter")) {
        int counter = eventfd(5, EFD_SEMAPHORE | EFD_NONBLOCK);
        eventfd_t value;
        ready();
        int taken = 0;
        while (eventfd_read(counter, &value) == 0 && value == 1) taken++;
        must(errno == EAGAIN);
        say(text, snprintf(text, sizeof text, "%d", taken));
        must(eventfd_write(counter, 7) == 0);
    } else if (!strcmp(what, "given")) {
        ready();
        show(5);
    } else if (!strcmp(what, "own-input")) {
        must(close(0) == 0 && open(at("file"), O_RDONLY) == 0 && lseek(0, 7, SEEK_SET) == 7);
        ready();
        show(0);
    } else {
        return 0;
    }
    return 1;
}

int main(int count, char **words) {
    must(count > 2);
    own = words[1];
    if (count == 3 && use(words[2])) return 0;
    for (int word = 2; word < count; word++) make(words[word]);
    ready();
    say("alive", 5);
    return 0;
}
