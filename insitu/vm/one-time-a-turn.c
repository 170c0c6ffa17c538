/* Open vSwitch reads the clock a hundred times in each turn of its main loop, and looks whether anything has come on each socket
 * of each bridge, though poll() has just said on which. In the guest each is a system call, and those were most of what a change
 * of its flows costs. With this preloaded a thread reads the monotonic clock once in a turn, which begins when poll() returns
 * (under the virtual clock no time passes while it computes anyway), and a socket on which poll() found nothing has nothing until
 * the next poll().
 *
 * Nor does a thread of it, but those that handle packets, push away from the only processor whoever wakes it: it has its turn when
 * that one has to wait, and finds all at once. Else the first of three writes to three bridges was a turn of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST 4096  /* files; those beyond are looked at each time */

static __thread struct timespec now;
static __thread int known;
static __thread char nothing[MOST];
static __thread int placed;

static void place(void)  /* a new thread has its policy from the one that made it */
{
    char name[16] = "";
    struct sched_param none = {0};
    prctl(PR_GET_NAME, name);
    sched_setscheduler(0, strncmp(name, "handler", 7) ? SCHED_BATCH : SCHED_OTHER, &none);
    placed = 1;
}

static int has_nothing(int file)
{
    if (file < 0 || file >= MOST || !nothing[file])
        return 0;
    errno = EAGAIN;
    return 1;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (clock != CLOCK_MONOTONIC)
        return syscall(SYS_clock_gettime, clock, time);
    if (!known && syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now))
        return -1;
    known = 1;
    *time = now;
    return 0;
}

int poll(struct pollfd *files, nfds_t count, int timeout)
{
    known = 0;
    if (!placed)
        place();
    memset(nothing, 0, sizeof nothing);
    int found = syscall(SYS_poll, files, count, timeout);
    for (nfds_t i = 0; found >= 0 && i < count; i++)
        if (files[i].fd >= 0 && files[i].fd < MOST && files[i].events & POLLIN && !files[i].revents)
            nothing[files[i].fd] = 1;
    return found;
}

ssize_t recv(int file, void *data, size_t size, int flags)
{
    return has_nothing(file) ? -1 : syscall(SYS_recvfrom, file, data, size, flags, NULL, NULL);
}

ssize_t recvmsg(int file, struct msghdr *message, int flags)
{
    return flags & MSG_DONTWAIT && has_nothing(file) ? -1 : syscall(SYS_recvmsg, file, message, flags);
}

int accept(int file, struct sockaddr *address, socklen_t *size)
{
    return has_nothing(file) ? -1 : syscall(SYS_accept, file, address, size);
}

int close(int file)  /* its number may soon be another's */
{
    if (file >= 0 && file < MOST)
        nothing[file] = 0;
    return syscall(SYS_close, file);
}
