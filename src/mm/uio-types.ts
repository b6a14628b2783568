/** Vectors of buffers in user memory (struct iovec, struct iov_iter). */
import { array, defineStruct, type Ref } from '../memory/struct.ts';

export type IovecRef = Ref<'iovec'>;

/** Buffers that a vector may have (UIO_MAXIOV). */
export const UIO_MAXIOV = 1024;
/** Vectors of so many buffers need no memory of the kernel's (UIO_FASTIOV). */
export const UIO_FASTIOV = 8;

export const Iovec = defineStruct('iovec', {
  count: 'count',
  /** Where the iterator stands: the buffer, and the bytes of it that are behind. */
  segment: 'number',
  offset: 'bytes',
  /** Bytes that are left (iov_iter_count). */
  left: 'bytes',
  bases: array(UIO_MAXIOV, 'bytes'),
  lengths: array(UIO_MAXIOV, 'bytes'),
});
