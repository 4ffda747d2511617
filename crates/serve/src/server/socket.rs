//! A client's socket that does not wait without end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How long what a client still sends is thrown away after its answer.
///
/// A request that is answered before its body was read (one that is too large) leaves bytes on their way.
/// Closing on them makes the client's system drop the answer, so that it sees a reset and not what was
/// wrong (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(5);

pub(super) struct Socket {
    stream: TcpStream,
    write_time: Duration,
    /// While the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether part of a request's body was not read.
    unread: Arc<AtomicBool>,
    closing: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, write_time: Duration, unread: Arc<AtomicBool>) -> Socket {
        Socket {
            stream,
            write_time,
            stalled: None,
            unread,
            closing: None,
        }
    }

    /// Passes on how a write went; an error where nothing was taken for too long.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let write_time = self.write_time;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(write_time)));
        ready!(stalled.as_mut().poll(cx));
        let message = "the client takes nothing of its answer";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }

    /// Reads and forgets until the client is done or the time is over.
    fn linger(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let mut rest = [0; 8 << 10];
        // The clock is looked at here too: with bytes always there the timer is never polled.
        while Instant::now() < until {
            let mut buffer = ReadBuf::new(&mut rest);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            let until = Instant::now() + LINGER;
            self.closing = Some((until, Box::pin(sleep_until(until))));
        }
        let Some((until, mut timer)) = self.closing.take() else {
            return Poll::Ready(Ok(()));
        };
        if self.linger(cx, until).is_ready() || timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.closing = Some((until, timer));
        Poll::Pending
    }
}
