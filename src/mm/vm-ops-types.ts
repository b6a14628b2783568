/** Numbers of what VMAs map (Vma.ops); their functions are in vm-ops.ts. */
export const VMOPS_ANON = 0;
/** Shared memory with a name (shmem_vm_ops). */
export const VMOPS_SHMEM = 1;
/** Shared memory without one: memfd, MAP_SHARED | MAP_ANONYMOUS (shmem_anon_vm_ops). */
export const VMOPS_SHMEM_ANON = 2;
/** A file of a disk (ext4_file_vm_ops). */
export const VMOPS_DISK = 3;
/** An attached SysV segment (shm_vm_ops). */
export const VMOPS_SHM = 4;
/** Huge pages of a pool (hugetlb_vm_ops). */
export const VMOPS_HUGETLB = 5;
/** Secret memory (secretmem_vm_ops). */
export const VMOPS_SECRETMEM = 16;
