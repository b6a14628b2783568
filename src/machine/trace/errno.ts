/**
 * Names of errno numbers as a trace has them.
 *
 * Source: include/uapi/asm-generic/errno-base.h and errno.h. EAGAIN is named so, never EWOULDBLOCK; EOPNOTSUPP, never ENOTSUP.
 */
const NAMES = (
  'EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR ' +
  'EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ' +
  'ENOTEMPTY ELOOP'
).split(' ');

const HIGHER: Readonly<Record<number, string>> = {
  42: 'ENOMSG',
  43: 'EIDRM',
  61: 'ENODATA',
  62: 'ETIME',
  71: 'EPROTO',
  74: 'EBADMSG',
  75: 'EOVERFLOW',
  77: 'EBADFD',
  84: 'EILSEQ',
  85: 'ERESTART',
  95: 'EOPNOTSUPP',
  105: 'ENOBUFS',
  110: 'ETIMEDOUT',
  114: 'EALREADY',
  115: 'EINPROGRESS',
  125: 'ECANCELED',
  132: 'ERFKILL',
  133: 'EHWPOISON',
};

/** Numbers by name, for those who write them. */
export const ERRNO: Readonly<Record<string, number>> = Object.fromEntries([
  ...NAMES.map((name, i) => [name, i + 1] as const),
  ...Object.entries(HIGHER).map(([number, name]) => [name, Number(number)] as const),
]);

/** `EINVAL` for 22; `E4000` for a number without a name. */
export const errnoName = (errno: number): string => NAMES[errno - 1] ?? HIGHER[errno] ?? `E${errno}`;
