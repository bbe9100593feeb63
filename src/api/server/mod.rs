//! The server: a poll loop that hangs below the daemon's own.
//!
//! Nothing here blocks, and nothing a client does costs more than its share of
//! a turn and its bounded buffers. A turn visits at most [`VISITS`] clients, and
//! serves each at most one call, or one chunk of a long answer.

mod connection;
mod listen;
mod stream;
#[cfg(test)]
mod tests;

pub use listen::{from_environment, ListenError};

use super::error::ApiError;
use super::handler::{Answer, Handler, Ticket};
use super::request::Request;
use super::wire::{self, Call, Reply, INTERFACE, MAX_MESSAGE, SERVICE};
use crate::event::Event;
use connection::{Connection, Next, HIGH_WATER};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{getsockopt, sockopt};
use serde::Serialize;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};
use stream::{Body, Stream, Then};

/// Connections at a time.
pub const MAX_CLIENTS: usize = 64;

/// Of those, kept for root: no user of the group can lock the admin out.
const ROOT_CLIENTS: usize = 8;

/// Clients that one turn visits at most.
const VISITS: usize = 16;

/// Bytes of calls that one turn reads as JSON before it lets the daemon go on.
const TURN_BYTES: usize = MAX_MESSAGE;

/// Bytes of unserved input over all clients; past it the longest goes.
const MAX_UNREAD: usize = 8 * MAX_MESSAGE;

/// Bytes of events that a subscriber may lag behind.
const MAX_LAG: usize = 1 << 20;

/// How long a client that is being closed may take to read what it was sent.
const CLOSE_TIME: Duration = Duration::from_secs(30);

/// How long no connection is taken when the process or the system is out of
/// descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Identifies the listener in epoll; clients count from 1.
const LISTENER: u64 = 0;

/// Serves the API. Poll its descriptor for reading, with
/// [`Server::next_deadline`] as the time limit, and call [`Server::turn`].
#[derive(Debug)]
pub struct Server {
    epoll: Epoll,
    listener: UnixListener,
    clients: BTreeMap<u64, Client>,
    last_client: u64,
    last_call: u64,
    accept_again: Option<Instant>,
    peer_uid: fn(&UnixStream) -> io::Result<u32>,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    uid: u32,
    phase: Phase,
    /// What epoll was last told to look for.
    interest: EpollFlags,
}

/// What a client is at.
#[derive(Debug)]
enum Phase {
    /// Its next call may be served.
    Ready,
    /// Its call, of this number, is with the daemon.
    Waiting(u64),
    /// It gets a long answer.
    Streaming(Stream),
    /// It gets events as they happen.
    Live,
    /// It is told its last, until then.
    Closing(Instant),
}

impl AsFd for Server {
    /// Readable when a client needs service.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Server {
    /// Listens at `path`, root:bulkhead 0660 where the group bulkhead exists,
    /// else 0600. The directory is made if need be, and a socket that nobody
    /// listens at is replaced.
    pub fn bind(path: &Path) -> Result<Server, ListenError> {
        Self::new(listen::bind(path)?)
    }

    /// Serves a socket that listens already, such as [`from_environment`]'s.
    pub fn from_fd(fd: OwnedFd) -> Result<Server, ListenError> {
        Self::new(listen::from_fd(fd)?)
    }

    fn new(listener: UnixListener) -> Result<Server, ListenError> {
        let make = || {
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
            Ok(epoll)
        };
        let epoll = make().map_err(|e: nix::Error| ListenError::Io {
            path: "epoll".into(),
            operation: "watch the socket",
            cause: e.into(),
        })?;
        Ok(Server {
            epoll,
            listener,
            clients: BTreeMap::new(),
            last_client: LISTENER,
            last_call: 0,
            accept_again: None,
            peer_uid,
        })
    }

    /// Serves who needs service, and returns without waiting for anybody. `now`
    /// is for time limits on clients.
    pub fn turn(&mut self, now: Instant, handler: &mut dyn Handler) {
        let mut events = [EpollEvent::empty(); VISITS];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(error) => {
                tracing::error!("API: epoll_wait: {error}");
                0
            }
        };
        let mut bytes = 0;
        for event in events.iter().take(count) {
            // Who is left out stays ready, and epoll names them next turn.
            if event.data() == LISTENER {
                self.accept(now);
            } else if bytes < TURN_BYTES {
                bytes += self.visit(event.data(), event.events(), now, handler);
            }
        }
        self.expire(now);
    }

    /// When [`Server::turn`] must be called even if nothing is readable.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.clients.values().filter_map(Client::deadline).chain(self.accept_again).min()
    }

    /// Answers a call that was answered [`Answer::Later`].
    pub fn complete<T: Serialize>(&mut self, ticket: Ticket, result: Result<T, ApiError>) {
        let Some(client) = self.clients.get_mut(&ticket.client) else { return };
        if matches!(client.phase, Phase::Waiting(call) if call == ticket.call) {
            client.phase = Phase::Ready;
            client.answer(result);
            self.settle(ticket.client);
        }
    }

    /// Sends `event` to the subscribers that follow.
    ///
    /// To be called once for each event, right after the commit that stored it
    /// and before the next turn: a subscriber who is still being sent what is
    /// stored finds it there, one who is past that gets it here, and so each
    /// gets it once.
    pub fn publish(&mut self, now: Instant, event: &Event) {
        let live: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| matches!(client.phase, Phase::Live))
            .map(|(id, _)| *id)
            .collect();
        if live.is_empty() {
            return;
        }
        let Some(bytes) = encode(&Reply {
            parameters: Some(Body::Events(vec![event.clone()])),
            continues: true,
            error: None,
        }) else {
            return;
        };
        for id in live {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            if client.connection.unsent() + bytes.len() > MAX_LAG {
                tracing::warn!(
                    "API: dropped a subscriber (uid {}) that does not read its events",
                    client.uid
                );
                client.refuse(ApiError::TooSlow, now);
            } else {
                client.connection.queue(&bytes);
            }
            self.settle(id);
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..VISITS {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.admit(stream) {
                        tracing::debug!("API: a connection failed at once: {error}");
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if matches!(e.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR)) => {}
                Err(error) => {
                    // Out of descriptors or memory: the listener stays
                    // readable, and would keep the loop spinning.
                    tracing::warn!("API: no connections for a second: accept: {error}");
                    if self.epoll.delete(&self.listener).is_ok() {
                        self.accept_again = Some(now + ACCEPT_PAUSE);
                    }
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let uid = (self.peer_uid)(&stream)?;
        let max = if uid == 0 { MAX_CLIENTS } else { MAX_CLIENTS - ROOT_CLIENTS };
        let mut client = Client {
            connection: Connection::new(stream),
            uid,
            phase: Phase::Ready,
            interest: EpollFlags::EPOLLIN,
        };
        if self.clients.len() >= max {
            client.answer::<()>(Err(ApiError::TooManyClients(max as u64)));
            // Fits the socket's empty buffer; and nobody waits if not.
            return client.connection.flush();
        }
        self.last_client += 1;
        let event = EpollEvent::new(client.interest, self.last_client);
        self.epoll.add(client.connection.stream(), event)?;
        self.clients.insert(self.last_client, client);
        Ok(())
    }

    /// One client's share of a turn. Returns the bytes that were read as JSON.
    fn visit(
        &mut self,
        id: u64,
        ready: EpollFlags,
        now: Instant,
        handler: &mut dyn Handler,
    ) -> usize {
        let Some(client) = self.clients.get_mut(&id) else { return 0 };
        let gone = ready.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        if gone && matches!(client.phase, Phase::Waiting(_) | Phase::Live) {
            self.clients.remove(&id);
            return 0;
        }
        if client.wants_input() || (gone && matches!(client.phase, Phase::Ready)) {
            if let Err(error) = client.connection.fill(now) {
                tracing::debug!("API: read: {error}");
                self.clients.remove(&id);
                return 0;
            }
        }
        if client.connection.flush().is_err() {
            self.clients.remove(&id);
            return 0;
        }
        self.last_call += 1;
        let bytes = client.serve(Ticket { client: id, call: self.last_call }, now, handler);
        self.settle(id);
        self.bound_input();
        bytes
    }

    /// Sends what can be sent, and then either forgets the client or tells
    /// epoll what it waits for.
    fn settle(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.connection.flush().is_err() || client.finished() {
            self.clients.remove(&id);
            return;
        }
        let interest = client.wanted();
        if interest == client.interest {
            return;
        }
        let mut event = EpollEvent::new(interest, id);
        match self.epoll.modify(client.connection.stream(), &mut event) {
            Ok(()) => client.interest = interest,
            Err(error) => {
                tracing::debug!("API: epoll_ctl: {error}");
                self.clients.remove(&id);
            }
        }
    }

    fn bound_input(&mut self) {
        let unread = |client: &Client| client.connection.unread();
        while self.clients.values().map(unread).sum::<usize>() > MAX_UNREAD {
            let longest = self.clients.iter().max_by_key(|(_, client)| unread(client));
            let Some(id) = longest.map(|(id, _)| *id) else { return };
            tracing::debug!("API: dropped a client: too much unserved input");
            self.clients.remove(&id);
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.accept_again.is_some_and(|again| again <= now) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
            self.accept_again = match self.epoll.add(&self.listener, event) {
                Ok(()) => None,
                Err(_) => Some(now + ACCEPT_PAUSE),
            };
        }
        let late: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| client.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            if matches!(client.phase, Phase::Closing(_)) {
                self.clients.remove(&id);
            } else {
                client.refuse(bad("the call was not finished in 30 s"), now);
                self.settle(id);
            }
        }
    }
}

impl Client {
    /// Serves one call or one chunk, if its turn has come. Returns the bytes
    /// that were read as JSON.
    fn serve(&mut self, ticket: Ticket, now: Instant, handler: &mut dyn Handler) -> usize {
        if self.connection.unsent() >= HIGH_WATER {
            return 0;
        }
        match &self.phase {
            Phase::Ready => match self.connection.next(now) {
                Next::Message(message) => {
                    self.call(&message, ticket, now, handler);
                    return message.len();
                }
                Next::Nothing => {}
                Next::TooLong => self.refuse(bad("the call is longer than 1 MiB"), now),
                Next::CutShort => self.refuse(bad("it ends without a NUL byte"), now),
            },
            Phase::Streaming(stream) => {
                let stream = stream.clone();
                self.chunk(stream, handler);
            }
            Phase::Waiting(_) | Phase::Live | Phase::Closing(_) => {}
        }
        0
    }

    fn call(&mut self, message: &[u8], ticket: Ticket, now: Instant, handler: &mut dyn Handler) {
        let call: Call = match serde_json::from_slice(message) {
            Ok(call) => call,
            Err(error) => return self.refuse(bad(error), now),
        };
        let request = if call.upgrade {
            Err(ApiError::MethodNotImplemented(format!("{} with upgrade", call.method)))
        } else {
            Request::parse(&call.method, call.parameters)
        };
        match request.and_then(|request| self.permit(request)) {
            Ok(request) if call.oneway => act_unheard(request, ticket, handler),
            Ok(request) => self.dispatch(request, call.more, ticket, handler),
            Err(_) if call.oneway => {}
            Err(error) => self.answer::<()>(Err(error)),
        }
    }

    fn dispatch(
        &mut self,
        request: Request,
        more: bool,
        ticket: Ticket,
        handler: &mut dyn Handler,
    ) {
        let call = ticket.call;
        match request {
            Request::GetInfo => self.answer(Ok(info())),
            Request::GetInterfaceDescription(interface) => self.answer(describe(interface)),
            Request::Status => self.answer(Ok(handler.status())),
            Request::ListIsolations(kind) => {
                self.list(Stream::Isolations { kind, after: None }, more, handler);
            }
            Request::ListFaults => self.list(Stream::Faults { after: None }, more, handler),
            Request::ExplainFault(id) => self.answer(handler.explain(id)),
            Request::Isolate(act) => self.acted(call, handler.isolate(ticket, act)),
            Request::Release(act) => self.acted(call, handler.release(ticket, act)),
            Request::Resolve(id, word) => self.acted(call, handler.resolve(ticket, id, word)),
            Request::Boots => self.answer(Ok(Body::Boots(handler.boots()))),
            Request::Subscribe { .. } if !more => self.answer::<()>(Err(ApiError::ExpectedMore)),
            Request::Subscribe { follow, since } => {
                self.chunk(Stream::Events { follow, since, after: None }, handler);
            }
        }
    }

    fn acted(&mut self, call: u64, answer: Answer) {
        match answer {
            Answer::Now(result) => self.answer(result),
            Answer::Later => self.phase = Phase::Waiting(call),
        }
    }

    /// The first chunk of a list; without `more` it must be the last too.
    fn list(&mut self, list: Stream, more: bool, handler: &mut dyn Handler) {
        if more {
            return self.chunk(list, handler);
        }
        match list.next(handler) {
            (body, Then::End) => self.answer(Ok(body)),
            _ => self.answer::<()>(Err(ApiError::ExpectedMore)),
        }
    }

    fn permit(&self, request: Request) -> Result<Request, ApiError> {
        if request.acts() && self.uid != 0 {
            let reason = format!("only root may act, and the caller is uid {}", self.uid);
            return Err(ApiError::PermissionDenied(reason));
        }
        Ok(request)
    }

    fn chunk(&mut self, stream: Stream, handler: &mut dyn Handler) {
        let (body, then) = stream.next(handler);
        let continues = then != Then::End;
        self.phase = match then {
            Then::More(stream) => Phase::Streaming(stream),
            Then::Live => Phase::Live,
            Then::End => Phase::Ready,
        };
        self.send(&Reply { parameters: Some(body), continues, error: None });
    }

    fn answer<T: Serialize>(&mut self, result: Result<T, ApiError>) {
        match result {
            Ok(parameters) => {
                self.send(&Reply { parameters: Some(parameters), continues: false, error: None })
            }
            Err(error) => self.send(&Reply {
                parameters: Some(error.parameters()),
                continues: false,
                error: Some(error.name()),
            }),
        }
    }

    fn send<T: Serialize>(&mut self, reply: &Reply<T>) {
        if let Some(bytes) = encode(reply) {
            self.connection.queue(&bytes);
        }
    }

    /// Tells the client its last.
    fn refuse(&mut self, error: ApiError, now: Instant) {
        tracing::debug!("API: closing a client (uid {}): {error}", self.uid);
        self.answer::<()>(Err(error));
        self.connection.stop_reading();
        self.phase = Phase::Closing(now + CLOSE_TIME);
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closing(deadline) => Some(deadline),
            _ => self.connection.deadline(),
        }
    }

    fn finished(&self) -> bool {
        self.connection.unsent() == 0
            && match self.phase {
                Phase::Closing(_) => true,
                Phase::Ready => self.connection.ended() && !self.connection.has_next(),
                Phase::Waiting(_) | Phase::Streaming(_) | Phase::Live => false,
            }
    }

    /// A client is read from only when its next call could be served.
    fn wants_input(&self) -> bool {
        matches!(self.phase, Phase::Ready)
            && !self.connection.ended()
            && !self.connection.has_next()
            && self.connection.unsent() < HIGH_WATER
    }

    /// What epoll should look for. Work that waits for a turn, and not for the
    /// client, counts as output: epoll then names the client again at once, if
    /// it can take the answer.
    fn wanted(&self) -> EpollFlags {
        let mut wanted = EpollFlags::empty();
        if self.wants_input() {
            wanted |= EpollFlags::EPOLLIN;
        }
        let work = match self.phase {
            Phase::Ready => self.connection.has_next(),
            Phase::Streaming(_) => true,
            Phase::Waiting(_) | Phase::Live | Phase::Closing(_) => false,
        };
        if work || self.connection.unsent() > 0 {
            wanted |= EpollFlags::EPOLLOUT;
        }
        wanted
    }
}

/// An order that nobody waits for.
fn act_unheard(request: Request, ticket: Ticket, handler: &mut dyn Handler) {
    match request {
        Request::Isolate(act) => drop(handler.isolate(ticket, act)),
        Request::Release(act) => drop(handler.release(ticket, act)),
        Request::Resolve(id, word) => drop(handler.resolve(ticket, id, word)),
        // Nobody would hear what the others have to say.
        _ => {}
    }
}

fn info() -> Value {
    json!({
        "vendor": "Bulkhead",
        "product": "bulkheadd",
        "version": env!("CARGO_PKG_VERSION"),
        "url": "",
        "interfaces": [SERVICE, INTERFACE],
    })
}

fn describe(interface: String) -> Result<Value, ApiError> {
    let description = match interface.as_str() {
        INTERFACE => wire::DESCRIPTION,
        SERVICE => wire::SERVICE_DESCRIPTION,
        _ => return Err(ApiError::InterfaceNotFound(interface)),
    };
    Ok(json!({ "description": description }))
}

fn encode<T: Serialize>(reply: &Reply<T>) -> Option<Vec<u8>> {
    wire::encode(reply)
        .inspect_err(|error| tracing::error!("API: a reply that JSON cannot say: {error}"))
        .ok()
}

fn bad(reason: impl ToString) -> ApiError {
    ApiError::BadRequest(reason.to_string())
}

fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, sockopt::PeerCredentials)?.uid())
}
