//! Messages between hardpand, the watchdog and the responder, over sockets that keep them apart. Nobody waits to send one.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use thiserror::Error;

/// Longest message; records of the gate are below 1 KiB.
const MAX_BYTES: usize = 4096;
/// Descriptors with one message, at most.
const MAX_FDS: usize = 2;

/// What a message is. Its number is its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The job, in JSON. With a table and a socket for records, where the responder refuses.
    Job = 1,
    /// Another table.
    Table = 2,
    /// A record of the gate, behind the number of those that found no room.
    Record = 3,
}

impl Kind {
    const fn from_u8(raw: u8) -> Option<Self> {
        match raw {
            1 => Some(Self::Job),
            2 => Some(Self::Table),
            3 => Some(Self::Record),
            _ => None,
        }
    }
}

/// A message that came.
#[derive(Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub body: Vec<u8>,
    /// What came with it.
    pub fds: Vec<OwnedFd>,
}

/// Why there is no message.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// None is there now.
    #[error("no message is there")]
    Empty,
    /// Nobody is at the other end any more.
    #[error("nobody is at the other end")]
    Closed,
    /// It is none of these, or cut off.
    #[error("a message that hardpand does not send")]
    Unknown,
    /// The socket failed, or is none.
    #[error("the socket")]
    Socket(#[from] io::Error),
}

/// Two ends.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    Ok(socketpair(AddressFamily::UNIX, kind.0, kind.1, None)?)
}

/// Sends a message, or fails with `WouldBlock`: nobody waits.
pub fn send(socket: BorrowedFd<'_>, kind: Kind, body: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let head = [kind as u8];
    let parts = [IoSlice::new(&head), IoSlice::new(body)];
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &parts, &mut control, flags)?;
    Ok(())
}

/// Takes a message, waiting for it or not.
pub fn receive(socket: BorrowedFd<'_>, waits: bool) -> Result<Message, ChannelError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; MAX_BYTES];
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    flags.set(RecvFlags::DONTWAIT, !waits);
    let got = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut parts, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Err(ChannelError::Empty),
            Err(rustix::io::Errno::CONNRESET) => return Err(ChannelError::Closed),
            other => break other.map_err(io::Error::from)?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(ChannelError::Unknown);
    }
    let Some((kind, body)) = bytes.get(..got.bytes).and_then(<[u8]>::split_first) else {
        return Err(ChannelError::Closed);
    };
    Ok(Message {
        kind: Kind::from_u8(*kind).ok_or(ChannelError::Unknown)?,
        body: body.to_vec(),
        fds,
    })
}

/// Takes all records that are there and hands them on; false: nobody will send any more.
pub fn drain(socket: &impl AsFd, take: &mut impl FnMut(Vec<u8>)) -> bool {
    loop {
        match receive(socket.as_fd(), false) {
            Ok(Message {
                kind: Kind::Record,
                body,
                ..
            }) => take(body),
            Ok(_) | Err(ChannelError::Unknown) => {}
            Err(ChannelError::Empty) => return true,
            Err(ChannelError::Closed | ChannelError::Socket(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};

    #[test]
    fn messages_and_descriptors_come_through() {
        let (here, there) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        assert!(matches!(receive(there.as_fd(), false), Err(ChannelError::Empty)));
        send(here.as_fd(), Kind::Table, b"", &[file.as_fd()]).unwrap();
        send(here.as_fd(), Kind::Record, b"one", &[]).unwrap();
        let table = receive(there.as_fd(), true).unwrap();
        assert_eq!(
            (table.kind, table.body.len(), table.fds.len()),
            (Kind::Table, 0, 1)
        );
        let mut copy = File::from(table.fds.into_iter().next().unwrap());
        copy.rewind().unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        let record = receive(there.as_fd(), true).unwrap();
        assert_eq!(
            (record.kind, record.body.as_slice()),
            (Kind::Record, b"one".as_slice())
        );
        drop(here);
        assert!(matches!(receive(there.as_fd(), true), Err(ChannelError::Closed)));
    }

    #[test]
    fn what_is_none_of_ours_is_refused() {
        let (here, there) = pair().unwrap();
        let raw = |bytes: &[u8]| {
            let mut control = SendAncillaryBuffer::new(&mut []);
            sendmsg(&here, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT).unwrap();
        };
        raw(b"\xffx");
        raw(&vec![3; MAX_BYTES + 1]);
        for _ in 0..2 {
            assert!(matches!(
                receive(there.as_fd(), false),
                Err(ChannelError::Unknown)
            ));
        }
        let file = File::open("/dev/null").unwrap();
        assert!(matches!(
            receive(file.as_fd(), true),
            Err(ChannelError::Socket(_))
        ));
    }

    #[test]
    fn nobody_waits_for_room() {
        let (here, there) = pair().unwrap();
        let mut sent = 0_u32;
        while send(here.as_fd(), Kind::Record, &[0; 1000], &[]).is_ok() {
            sent += 1;
            assert!(sent < 1_000_000);
        }
        let mut taken = 0;
        assert!(drain(&there, &mut |_| taken += 1));
        assert_eq!(taken, sent);
        drop(here);
        assert!(!drain(&there, &mut |_| {}));
    }
}
