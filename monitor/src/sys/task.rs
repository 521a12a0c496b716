//! Calls that change only the calling thread, for self-tests. libc's own wrappers change the whole process.

use nix::libc;
use std::io;

/// Sets the calling thread's file-system user id (per thread by definition) and returns the former one.
pub fn set_fsuid(uid: u32) -> u32 {
    // SAFETY: no memory is involved; the call can't fail, it returns the former id.
    let former = unsafe { libc::syscall(libc::SYS_setfsuid, uid) };
    u32::try_from(former).unwrap_or(u32::MAX)
}

/// Sets the calling thread's file-system group id and returns the former one. Unlike the user id it takes no
/// capabilities along.
pub fn set_fsgid(gid: u32) -> u32 {
    // SAFETY: no memory is involved; the call can't fail, it returns the former id.
    let former = unsafe { libc::syscall(libc::SYS_setfsgid, gid) };
    u32::try_from(former).unwrap_or(u32::MAX)
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`
const CAP_VERSION_3: u32 = 0x2008_0522;

/// Adds or removes a permitted capability in the calling thread's inheritable set, which changes nothing that the
/// thread may do. `capability` must be below 32.
pub fn flip_inheritable(capability: u32) -> io::Result<()> {
    let mut header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 wants one header and two data structs, which live here.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    let [low, _high] = &mut data;
    low.inheritable ^= 1 << (capability % 32);
    // SAFETY: as above; the kernel only reads.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Hands an image that is no module to `init_module`. The kernel asks its LSMs, then refuses it as no ELF file.
pub fn init_module_garbage() -> io::Error {
    let image = [0u8; 128];
    // SAFETY: the image and the empty argument string live here; a zeroed image is refused before anything is built.
    let result = unsafe { libc::syscall(libc::SYS_init_module, image.as_ptr(), image.len(), c"".as_ptr()) };
    if result == 0 {
        io::Error::other("the kernel took zeroes for a module")
    } else {
        io::Error::last_os_error()
    }
}

/// Hands a file that is no module to `finit_module`, as [`init_module_garbage`] does with memory.
pub fn finit_module_garbage() -> io::Result<()> {
    use std::{io::Write, os::fd::AsRawFd};
    // SAFETY: the name is a C string; the call returns a new descriptor.
    let raw = unsafe { libc::memfd_create(c"hardpan-selftest".as_ptr(), libc::MFD_CLOEXEC) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let mut file = unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(raw) };
    file.write_all(&[0u8; 128])?;
    // SAFETY: an open descriptor and an empty argument string; a zeroed image is refused before anything is built.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Calls that reach the hooks of the task family and change nothing: groups set to what they are, namespace calls that
/// move nowhere, signal 0, a look at process 1, a refused seccomp call, a socket, an access check with other ids than the
/// file-system ones.
pub fn touch_task_hooks() {
    let mut groups = [0 as libc::gid_t; 256];
    let room = libc::c_int::try_from(groups.len()).unwrap_or_default();
    // SAFETY: the buffer holds as many ids as it says.
    let count = unsafe { libc::getgroups(room, groups.as_mut_ptr()) };
    if let Ok(count) = libc::size_t::try_from(count) {
        // SAFETY: `count` of the buffer's ids were just filled in. The system call (not libc's wrapper) changes only
        // this thread, and to what it was.
        unsafe { libc::syscall(libc::SYS_setgroups, count, groups.as_ptr()) };
    }
    // Unshare of nothing, setns of no descriptor, an unknown seccomp operation, a prctl that only asks.
    for (call, first) in [
        (libc::SYS_unshare, 0),
        (libc::SYS_setns, -1),
        (libc::SYS_seccomp, libc::c_long::from(u32::MAX)),
        (libc::SYS_prctl, libc::c_long::from(libc::PR_CAPBSET_READ)),
    ] {
        // SAFETY: no memory is involved.
        unsafe { libc::syscall(call, first, 0, 0, 0, 0) };
    }
    let _signalled = nix::sys::signal::kill(nix::unistd::Pid::this(), None);
    // SAFETY: a C string; the root is set to what it is.
    unsafe { libc::chroot(c"/".as_ptr()) };
    // The kernel overrides credentials for this call where the ids differ.
    let former = set_fsuid(65_534);
    // SAFETY: a C string.
    unsafe { libc::access(c"/".as_ptr(), libc::R_OK) };
    set_fsuid(former);
    let _looked = std::fs::read_link("/proc/1/exe");
    let _made = std::os::unix::net::UnixStream::pair();
}

/// Maps a page of this program and makes it executable, as just-in-time linkers do.
pub fn make_file_executable() -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    const PAGE: usize = 4096;
    let file = std::fs::File::open("/proc/self/exe")?;
    // SAFETY: a new private mapping of an open file at an address of the kernel's choice.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping just made, which nobody else knows of.
    let result = unsafe { libc::mprotect(at, PAGE, libc::PROT_READ | libc::PROT_EXEC) };
    let error = io::Error::last_os_error();
    // SAFETY: as above.
    unsafe { libc::munmap(at, PAGE) };
    if result == 0 { Ok(()) } else { Err(error) }
}
