/* Makes system calls with arguments that are all 0, but for those that stand behind the name, and prints what each fails with. The
   filter of a sandbox answers before the kernel looks at them. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void call(const char *name, long number, long first)
{
    errno = 0;
    long result = syscall(number, first, 0, 0, 0, 0, 0);
    if (number == SYS_clone && result == 0)
        _exit(0);
    const char *what = errno == EPERM ? "EPERM" : errno == ENOSYS ? "ENOSYS" : result >= 0 ? "ok" : "other";
    printf("%s %s\n", name, what);
}

#define CALL(name) call(#name, SYS_##name, 0)

int main(void)
{
    CALL(add_key);
    CALL(bpf);
    CALL(finit_module);
    CALL(fsopen);
    CALL(init_module);
    CALL(io_uring_setup);
    CALL(kcmp);
    CALL(kexec_load);
    CALL(keyctl);
    CALL(mount);
    CALL(move_mount);
    CALL(open_by_handle_at);
    CALL(open_tree);
    CALL(perf_event_open);
    CALL(pidfd_getfd);
    CALL(pivot_root);
    CALL(quotactl);
    CALL(request_key);
    CALL(setns);
    CALL(swapon);
    CALL(umount2);
    CALL(unshare);
    CALL(userfaultfd);
    call("unshare-user", SYS_unshare, 0x10000000);
    call("clone-user", SYS_clone, 0x10000000 | 17);
    call("clone-network", SYS_clone, 0x40000000 | 17);
    call("socket-vsock", SYS_socket, 40);
    CALL(clone3);
    call("no-such-call", 9999, 0);
    call("personality-any", SYS_personality, 0x40000);
    /* Allowed. */
    CALL(getpid);
    CALL(getuid);
    call("personality", SYS_personality, 0);
    call("socket", SYS_socket, 1);
    CALL(sched_yield);
    CALL(openat2);
    return 0;
}
