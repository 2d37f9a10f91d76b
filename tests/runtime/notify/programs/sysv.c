/* sysv [strict]: what users can do with each other's System V objects, and what these show.
 *
 * With "strict" also semop, msgsnd and msgrcv.  sysv narrow: what i386's calls say of them.
 * Identifiers and times differ from run to run, so this prints none. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include "i386.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define KEY 0x5d06

enum kind { SHM, SEM, MSG };
static const char *const names[] = {"shm", "sem", "msg"};
union argument { int value; struct semid_ds *data; unsigned short *values; };
union structure { struct shmid_ds shm; struct semid_ds sem; struct msqid_ds msg; };

static const struct actor { unsigned uid, gid, group; } actors[] = {
    {0, 0, 0}, {104, 106, 106}, {104, 5, 5}, {107, 106, 106}, {7, 8, 106}, {7, 8, 8}, {9, 10, 10},
};
static const unsigned modes[] = {0600, 0640, 0644, 0000, 0466, 0060, 0606};
static int strict;

static int get(enum kind kind, int key, int flags)
{
    return kind == SHM ? shmget(key, 100, flags)
         : kind == SEM ? semget(key, 2, flags) : msgget(key, flags);
}

static int control(enum kind kind, int id, int command, union structure *data)
{
    return kind == SHM ? shmctl(id, command, &data->shm)
         : kind == SEM ? semctl(id, 0, command, (union argument){.data = &data->sem})
                       : msgctl(id, command, &data->msg);
}

static struct ipc_perm *permission(enum kind kind, union structure *data)
{
    return kind == SHM ? &data->shm.shm_perm : kind == SEM ? &data->sem.sem_perm
                                                           : &data->msg.msg_perm;
}

/* One letter for each answer. */
static char letter(long result)
{
    static const int errors[] = {EACCES, EPERM, EINVAL, EEXIST, ENOENT, EIDRM, ENOMSG};
    if (result >= 0)
        return '+';
    for (size_t i = 0; i < COUNT(errors); i++)
        if (errno == errors[i])
            return "apixnrm"[i];
    return '?';
}

static void show(enum kind kind, int id)
{
    union structure data;
    memset(&data, 0, sizeof data);
    if (control(kind, id, IPC_STAT, &data)) {
        printf(" stat: %s\n", strerror(errno));
        return;
    }
    struct ipc_perm *perm = permission(kind, &data);
    printf(" %u:%u %u:%u %o", perm->uid, perm->gid, perm->cuid, perm->cgid, perm->mode & 0777);
    if (kind == SHM)
        printf(" size %zu, made by %s\n", data.shm.shm_segsz,
               data.shm.shm_cpid == getpid() ? "me" : data.shm.shm_cpid ? "another" : "nobody");
    else if (kind == SEM)
        printf(" semaphores %lu\n", (unsigned long)data.sem.sem_nsems);
    else
        printf(" bytes %lu\n", (unsigned long)data.msg.msg_qbytes);
}

static int set(enum kind kind, int id, unsigned uid, unsigned gid, unsigned mode)
{
    union structure data;
    memset(&data, 0, sizeof data);
    data.msg.msg_qbytes = kind == MSG ? 4000 : data.msg.msg_qbytes;
    struct ipc_perm *perm = permission(kind, &data);
    perm->uid = uid, perm->gid = gid, perm->mode = mode;
    return control(kind, id, IPC_SET, &data);
}

static void become(const struct actor *who)
{
    gid_t groups[] = {who->group};
    if (setgroups(1, groups) || setresgid(who->gid, who->gid, who->gid)
        || setresuid(who->uid, who->uid, who->uid))
        perror("become"), exit(1);
}

static int wait_for(int child)
{
    int status = 1;
    fflush(stdout);
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static char attach(int id, int flags)
{
    void *at = shmat(id, NULL, flags);
    char said = letter(at == (void *)-1 ? -1 : 0);
    if (at != (void *)-1)
        shmdt(at);
    return said;
}

static void use(enum kind kind, int id)
{
    union structure data;
    unsigned short values[2] = {0};
    struct sembuf wait = {.sem_num = 0, .sem_op = 0, .sem_flg = IPC_NOWAIT};
    struct sembuf both[] = {wait, {.sem_num = 1, .sem_op = 1, .sem_flg = IPC_NOWAIT}};
    struct { long type; char text[4]; } message = {1, "abc"};
    putchar(letter(control(kind, id, IPC_STAT, &data)));
    for (unsigned mode = 0; mode <= 0600; mode += 0200)
        putchar(letter(get(kind, KEY, mode)));
    putchar(letter(get(kind, KEY, 0666)));
    putchar(letter(get(kind, KEY, IPC_CREAT | 0600)));
    putchar(letter(get(kind, KEY, IPC_CREAT | IPC_EXCL | 0600)));
    putchar(' ');
    if (kind == SHM) {
        putchar(letter(shmget(KEY, 1 << 20, 0)));
        putchar(letter(shmget(KEY, 1 << 20, IPC_CREAT | IPC_EXCL)));
        putchar(attach(id, SHM_RDONLY));
        putchar(attach(id, 0));
        putchar(letter(shmctl(id, SHM_UNLOCK, NULL)));
    } else if (kind == SEM) {
        putchar(letter(semctl(id, 1, GETVAL)));
        putchar(letter(semctl(id, 0, GETPID)));
        putchar(letter(semctl(id, 0, GETALL, (union argument){.values = values})));
        putchar(letter(semctl(id, 1, SETVAL, (union argument){.value = 0})));
        putchar(letter(semctl(id, 0, SETALL, (union argument){.values = values})));
        putchar(letter(semctl(id, 7, GETVAL)));
        if (strict) {
            putchar(letter(semop(id, &wait, 1)));
            putchar(letter(semop(id, both, 2)));
            putchar(letter(semtimedop(id, both, 2, NULL)));
        }
    } else if (strict) {
        putchar(letter(msgsnd(id, &message, 4, IPC_NOWAIT)));
        putchar(letter(msgrcv(id, &message, 4, 0, IPC_NOWAIT)));
    }
}

static void matrix(enum kind kind, const struct actor *maker, const struct actor *owner)
{
    for (size_t m = 0; m < COUNT(modes); m++) {
        int ends[2], id = -1;
        if (pipe(ends))
            exit(1);
        int child = fork();
        if (!child) {
            become(maker);
            id = get(kind, KEY, IPC_CREAT | IPC_EXCL | modes[m]);
            printf("%s of %u:%u:", names[kind], maker->uid, maker->gid);
            show(kind, id);
            fflush(stdout);
            _exit(write(ends[1], &id, sizeof id) != sizeof id);
        }
        wait_for(child);
        if (read(ends[0], &id, sizeof id) != sizeof id)
            exit(1);
        close(ends[0]), close(ends[1]);
        if (owner) {
            printf(" given: %c", letter(set(kind, id, owner->uid, owner->gid, modes[m])));
            show(kind, id);
        }
        fflush(stdout);
        for (size_t a = 0; a < COUNT(actors); a++) {
            child = fork();
            if (!child) {
                become(&actors[a]);
                printf(" %u:%u+%u ", actors[a].uid, actors[a].gid, actors[a].group);
                use(kind, id);
                if (a) {
                    printf(" set %c", letter(set(kind, id, actors[a].uid, -1, modes[m])));
                    printf("%c", letter(set(kind, id, owner ? owner->uid : maker->uid,
                                            owner ? owner->gid : maker->gid, modes[m])));
                }
                putchar('\n');
                fflush(stdout);
                _exit(0);
            }
            wait_for(child);
        }
        int removed = 0;
        for (size_t a = COUNT(actors); a-- && !removed;) {
            child = fork();
            if (!child) {
                become(&actors[a]);
                char said = letter(control(kind, id, IPC_RMID, NULL));
                printf(" removed by %u: %c%c\n", actors[a].uid, said, letter(get(kind, KEY, 0)));
                fflush(stdout);
                _exit(said == '+');
            }
            removed = wait_for(child);
        }
    }
}

/* The files of /proc/sysvipc show owners, and SHM_STAT does. */
static void lists(void)
{
    int ids[3], child = fork();
    if (!child) {
        become(&actors[1]);
        for (enum kind kind = SHM; kind <= MSG; kind++)
            get(kind, KEY, IPC_CREAT | 0640);
        _exit(0);
    }
    wait_for(child);
    for (enum kind kind = SHM; kind <= MSG; kind++) {
        get(kind, IPC_PRIVATE, 0600);
        ids[kind] = get(kind, KEY, 0);
        set(kind, ids[kind], 123456, 7, 0604);
        show(kind, ids[kind]);
        char path[32], line[512];
        snprintf(path, sizeof path, "/proc/sysvipc/%s", names[kind]);
        FILE *list = fopen(path, "r");
        while (list && fgets(line, sizeof line, list)) {
            /* Blanks tell the widths of columns.  Key, identifier, process IDs and times vary. */
            for (char *at = line; *at; at++)
                if (*at >= '0' && *at <= '9' && at - line < 21)
                    *at = '#';
            size_t owners = kind == SHM ? 68 : kind == SEM ? 38 : 62;
            printf("%.32s", line);
            printf("|%.30s\n", strlen(line) > owners ? line + owners : "");
        }
        if (list)
            fclose(list);
    }
    union structure data;
    struct shminfo info;
    int last = shmctl(0, IPC_INFO, (struct shmid_ds *)&info), found = 0;
    for (int index = 0; index <= last; index++)
        if (shmctl(index, SHM_STAT, &data.shm) == ids[SHM])
            found = 1, printf("by index: %u:%u\n", data.shm.shm_perm.uid, data.shm.shm_perm.cuid);
    printf("found: %d\n", found);
    /* A segment in use stays until its last user has left it, and shows its owner. */
    void *at = shmat(ids[SHM], NULL, 0);
    shmctl(ids[SHM], IPC_RMID, NULL);
    show(SHM, ids[SHM]);
    shmdt(at);
    show(SHM, ids[SHM]);
}

static void narrow(void)
{
    enum { SEMGET = 2, SEMCTL, MSGGET = 13, MSGCTL, SHMAT = 21, SHMGET = 23, SHMCTL, IPC = 117 };
    enum { WIDE = 0x100, SHMCTL_32 = 396, SEMCTL_32 = 394, MSGCTL_32 = 402 };
    uint32_t *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    long at = (long)low;
    become(&actors[1]);
    long shm = i386_call(IPC, SHMGET, KEY, 100, IPC_CREAT | 0640, 0);
    long sem = i386_call(IPC, SEMGET, KEY, 3, IPC_CREAT | 0640, 0);
    long msg = i386_call(IPC, MSGGET, KEY, IPC_CREAT | 0640, 0, 0);
    printf("%ld\n", i386_call(SHMCTL_32, shm, IPC_STAT, at, 0, 0));
    printf("%u:%u %u:%u %o %u\n", low[1], low[2], low[3], low[4], low[5], low[9]);
    printf("%ld\n", i386_call(SEMCTL_32, sem, 0, IPC_STAT, at, 0));
    printf("%u:%u %u:%u %o %u\n", low[1], low[2], low[3], low[4], low[5], low[13]);
    printf("%ld\n", i386_call(MSGCTL_32, msg, IPC_STAT, at, 0, 0));
    printf("%u:%u %u:%u %o %u\n", low[1], low[2], low[3], low[4], low[5], low[17]);
    low[1] = 7, low[2] = 8, low[5] = 0604, low[17] = 4000;
    printf("%ld\n", i386_call(MSGCTL_32, msg, IPC_SET, at, 0, 0));
    memset(low, 0, 4096);
    /* By ipc(2), there is one more pointer for semctl. */
    printf("%ld\n", i386_call(IPC, MSGCTL, msg, IPC_STAT | WIDE, 0, at));
    printf("%u:%u %u:%u %o %u\n", low[1], low[2], low[3], low[4], low[5], low[17]);
    low[100] = at;
    printf("%ld\n", i386_call(IPC, SEMCTL, sem, 0, IPC_STAT | WIDE, at + 400));
    printf("%u:%u %u:%u %o %u\n", low[1], low[2], low[3], low[4], low[5], low[13]);
    int child = fork();
    if (!child) {
        setresuid(7, 7, 7);
        _exit(0);
    }
    wait_for(child);
    printf("%ld\n", i386_call(IPC, SHMCTL, shm, IPC_RMID | WIDE, 0, 0));
    printf("%ld\n", i386_call(IPC, SEMCTL, sem, 0, IPC_RMID | WIDE, at + 400));
    printf("%ld\n", i386_call(IPC, MSGCTL, msg, IPC_RMID | WIDE, 0, 0));
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "narrow")) {
        narrow();
        return 0;
    }
    strict = argc > 1;
    for (enum kind kind = SHM; kind <= MSG; kind++) {
        matrix(kind, &actors[0], NULL);
        matrix(kind, &actors[1], NULL);
        matrix(kind, &actors[1], &actors[5]);
    }
    if (!strict)
        lists();
    return 0;
}
