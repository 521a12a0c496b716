//! A page whose first reader waits until we let it: `userfaultfd(2)`.

use nix::libc;
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

// include/uapi/linux/userfaultfd.h
const UFFD_API: u64 = 0xaa;
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xc020_aa04;
const MODE_MISSING: u64 = 1;

#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register` and `struct uffdio_zeropage` share this shape.
#[repr(C)]
struct Range {
    start: u64,
    len: u64,
    mode: u64,
    out: u64,
}

/// An anonymous page nobody has touched. Whoever reads it, also the kernel on somebody's behalf, sleeps until
/// [`HeldPage::release`]; dropping it releases too.
#[derive(Debug)]
pub struct HeldPage {
    uffd: OwnedFd,
    address: *mut libc::c_void,
    len: usize,
}

impl HeldPage {
    /// Maps and registers the page. Needs root or `vm.unprivileged_userfaultfd`, and CONFIG_USERFAULTFD.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed; the call returns a new descriptor or an error.
        let raw = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        let raw = libc::c_int::try_from(raw).map_err(io::Error::other)?;
        // SAFETY: the descriptor is new and nobody else's.
        let uffd = unsafe { OwnedFd::from_raw_fd(raw) };
        let mut api = Api {
            version: UFFD_API,
            features: 0,
            ioctls: 0,
        };
        ioctl(uffd.as_fd(), UFFDIO_API, &mut api)?;
        // SAFETY: takes no pointer.
        let len = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(io::Error::other)?;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let page = Self { uffd, address, len };
        let mut range = Range {
            start: page.address(),
            len: len as u64,
            mode: MODE_MISSING,
            out: 0,
        };
        ioctl(page.uffd.as_fd(), UFFDIO_REGISTER, &mut range)?;
        Ok(page)
    }

    /// Address of the page.
    pub fn address(&self) -> u64 {
        self.address as u64
    }

    /// Readable once somebody waits.
    pub fn waits(&self) -> BorrowedFd<'_> {
        self.uffd.as_fd()
    }

    /// Gives the page content; who waits goes on.
    pub fn release(&self) -> io::Result<()> {
        let mut range = Range {
            start: self.address(),
            len: self.len as u64,
            mode: 0,
            out: 0,
        };
        match ioctl(self.uffd.as_fd(), UFFDIO_ZEROPAGE, &mut range) {
            // Already there.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other,
        }
    }
}

impl Drop for HeldPage {
    fn drop(&mut self) {
        // If this fails, closing the descriptor below ends the registration, which releases as well.
        let _on_close = self.release();
        // SAFETY: the mapping is ours, made in `new`, and no Rust reference points into it.
        unsafe { libc::munmap(self.address, self.len) };
    }
}

fn ioctl<T>(fd: BorrowedFd<'_>, request: libc::c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: each request is passed the struct that its number encodes the size of, alive for the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
