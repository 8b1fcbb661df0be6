/*
 * beget.h: capabilities for a program that runs already (C99, Linux, no library).
 *
 * A program that Beget started with a channel finds it in the slot named "beget" (LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID;
 * man 3 sd_listen_fds_with_names). Over it come descriptors, each with a name, and it may ask for one by name:
 *
 *     int channel = beget_channel();
 *     char name[BEGET_NAME];
 *     beget_ask(channel, "log");
 *     int log = beget_receive(channel, name);
 *
 * Each of the three gives -1 and sets errno when it fails. What a name means is between the program and whoever holds it.
 *
 * Safety idea: what is no packet of ours is skipped, and every descriptor that comes with it is closed; what is received is close-on-exec.
 */
#ifndef BEGET_H
#define BEGET_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0x40000000 /* glibc hides it from strict C */
#endif

/* Bytes of the longest name, with the NUL behind it. */
#define BEGET_NAME 256

/* The number of the channel that this process was born with. ENOENT: it was born without one. */
static inline int beget_channel(void)
{
    const char *owner = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
    int number = 3, type = 0;
    struct sockaddr address;
    socklen_t room = sizeof address, size = sizeof type;
    if (owner && count && names && strtol(owner, NULL, 10) == (long)getpid()) {
        long left = strtol(count, NULL, 10);
        for (; left > 0; left--, number++) {
            size_t length = strcspn(names, ":");
            if (length == 5 && memcmp(names, "beget", 5) == 0) {
                if (getsockname(number, &address, &room) != 0 || getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
                    return -1;
                if (address.sa_family == AF_UNIX && type == SOCK_SEQPACKET)
                    return number;
                errno = EPROTOTYPE;
                return -1;
            }
            if (names[length] == '\0')
                break;
            names += length + 1;
        }
    }
    errno = ENOENT;
    return -1;
}

/* Whether these bytes are a name: 1 to 255 of them, none a control character. */
static inline int beget_is_name(const char *name, size_t length)
{
    size_t at;
    if (length == 0 || length >= BEGET_NAME)
        return 0;
    for (at = 0; at < length; at++)
        if ((unsigned char)name[at] < 0x20 || name[at] == 0x7f)
            return 0;
    return 1;
}

/* Asks for the capability of this name, and waits for room if there is none. 0, or -1: EINVAL for what is no name; EPIPE when the holder is
 * gone. Whether it is given, and when, is for the holder to decide. */
static inline int beget_ask(int channel, const char *name)
{
    size_t length = strlen(name);
    ssize_t sent;
    if (!beget_is_name(name, length)) {
        errno = EINVAL;
        return -1;
    }
    do
        sent = send(channel, name, length, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

/* Waits for the next capability: its descriptor, which is the caller's to close, and its name in `name`, which has room for BEGET_NAME
 * bytes. -1: EPIPE when no more will come, for the holder is gone; EMFILE when one came and no number was free for it. */
static inline int beget_receive(int channel, char *name)
{
    for (;;) {
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof(int))];
        } room;
        struct iovec part;
        struct msghdr message;
        struct cmsghdr *item;
        ssize_t length;
        int found = -1, count = 0;

        memset(&message, 0, sizeof message);
        part.iov_base = name;
        part.iov_len = BEGET_NAME;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = room.bytes;
        message.msg_controllen = sizeof room.bytes;
        length = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
        if (length < 0) {
            if (errno == EINTR)
                continue;
            if (errno == ECONNRESET)
                errno = EPIPE;
            return -1;
        }
        for (item = CMSG_FIRSTHDR(&message); item != NULL; item = CMSG_NXTHDR(&message, item)) {
            size_t at;
            if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
                continue;
            for (at = 0; at + sizeof(int) <= item->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
                if (count++ > 0)
                    close(found);
                memcpy(&found, CMSG_DATA(item) + at, sizeof found);
            }
        }
        if (length == 0 && count == 0) {
            errno = EPIPE;
            return -1;
        }
        if (beget_is_name(name, (size_t)length) && (message.msg_flags & MSG_TRUNC) == 0) {
            name[length] = '\0';
            if (count == 1 && (message.msg_flags & MSG_CTRUNC) == 0)
                return found;
            if (count == 0 && (message.msg_flags & MSG_CTRUNC) != 0) {
                errno = EMFILE;
                return -1;
            }
        }
        if (count > 0)
            close(found);
    }
}

#endif
