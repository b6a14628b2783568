/** Why the host refuses a file, in words. */

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of its path is no directory',
  EIO: 'input/output error',
  EEXIST: 'it is there already',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left',
  EMFILE: 'too many open files',
  ELOOP: 'too many symbolic links',
};

/** What an error code of Node's says in words; the code itself where it has none here. */
export const reasonOf = (code: string): string => REASONS[code] ?? code;
