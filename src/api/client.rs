//! A small blocking client, for the command line.

use super::error::ApiError;
use super::request::{ActRequest, Request, Resolution, TargetKind};
use super::views::{
    ActReply, BootView, Explanation, FaultView, IsolationView, ResolveReply, Status,
};
use super::wire::{self, Call, Reply};
use crate::event::Event;
use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// How long the daemon may take to answer what it answers from memory.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How long it may take to act: the daemon gives up on a write of its own after
/// 60 s.
const ACT_TIME: Duration = Duration::from_secs(120);

/// The longest reply that is taken, in bytes. A chunk of a list is a hundredth
/// of it.
const MAX_REPLY: u64 = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon answers at {path} ({source})")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What connect() said.
        source: io::Error,
    },
    /// The socket's mode keeps us out.
    #[error("{0}: permission denied")]
    Forbidden(PathBuf),
    /// It went away, or hung, in the middle of an answer.
    #[error("{path}: the daemon {what} in the middle of an answer")]
    Lost {
        /// The socket.
        path: PathBuf,
        /// What it did.
        what: &'static str,
    },
    /// Something else went wrong with the socket.
    #[error("{path}: cannot {operation}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// `read` or `write`.
        operation: &'static str,
        /// What came back.
        source: io::Error,
    },
    /// What came back is not what this client knows.
    #[error("{path}: not understood: {reason}")]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// One line.
        reason: String,
    },
    /// The daemon answered with an error.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            ErrorKind::PermissionDenied => ClientError::Forbidden(path.to_owned()),
            _ => ClientError::Unreachable { path: path.to_owned(), source },
        })?;
        Ok(Client { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// The state of the host and of the daemon.
    pub fn status(&mut self) -> Result<Status, ClientError> {
        self.call(&Request::Status, ANSWER_TIME)
    }

    /// The ledger, or its lines of one kind.
    pub fn isolations(
        &mut self,
        kind: Option<TargetKind>,
    ) -> Result<Vec<IsolationView>, ClientError> {
        #[derive(Deserialize)]
        struct Chunk {
            isolations: Vec<IsolationView>,
        }
        self.collect(&Request::ListIsolations(kind), |chunk: Chunk| chunk.isolations)
    }

    /// All faults.
    pub fn faults(&mut self) -> Result<Vec<FaultView>, ClientError> {
        #[derive(Deserialize)]
        struct Chunk {
            faults: Vec<FaultView>,
        }
        self.collect(&Request::ListFaults, |chunk: Chunk| chunk.faults)
    }

    /// One fault with everything known about it.
    pub fn explain(&mut self, id: Uuid) -> Result<Explanation, ClientError> {
        self.call(&Request::ExplainFault(id), ANSWER_TIME)
    }

    /// Takes a component out of service and waits for the outcome.
    pub fn isolate(&mut self, act: ActRequest) -> Result<ActReply, ClientError> {
        self.call(&Request::Isolate(act), ACT_TIME)
    }

    /// Gives a component back and waits for the outcome.
    pub fn release(&mut self, act: ActRequest) -> Result<ActReply, ClientError> {
        self.call(&Request::Release(act), ACT_TIME)
    }

    /// Closes a fault, and waits for what it held to be back.
    pub fn resolve(&mut self, id: Uuid, word: Resolution) -> Result<ResolveReply, ClientError> {
        self.call(&Request::Resolve(id, word), ACT_TIME)
    }

    /// The boots known, newest first.
    pub fn boots(&mut self) -> Result<Vec<BootView>, ClientError> {
        #[derive(Deserialize)]
        struct Known {
            boots: Vec<BootView>,
        }
        let known: Known = self.call(&Request::Boots, ANSWER_TIME)?;
        Ok(known.boots)
    }

    /// Gives `each` what happened since `since`, and with `follow` what
    /// happens, until the daemon ends or `each` fails.
    pub fn events<E: From<ClientError>>(
        mut self,
        follow: bool,
        since: Option<Timestamp>,
        mut each: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        #[derive(Deserialize)]
        struct Chunk {
            events: Vec<Event>,
        }
        // Nothing may happen for days.
        let limit = if follow { None } else { Some(ANSWER_TIME) };
        self.send(&Request::Subscribe { follow, since }, true, limit)?;
        loop {
            let (chunk, continues): (Chunk, bool) = self.receive()?;
            chunk.events.into_iter().try_for_each(&mut each)?;
            if !continues {
                return Ok(());
            }
        }
    }

    fn call<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        limit: Duration,
    ) -> Result<T, ClientError> {
        self.send(request, false, Some(limit))?;
        Ok(self.receive()?.0)
    }

    fn collect<C: DeserializeOwned, T>(
        &mut self,
        request: &Request,
        entries: impl Fn(C) -> Vec<T>,
    ) -> Result<Vec<T>, ClientError> {
        self.send(request, true, Some(ANSWER_TIME))?;
        let mut all = Vec::new();
        loop {
            let (chunk, continues) = self.receive()?;
            all.extend(entries(chunk));
            if !continues {
                return Ok(all);
            }
        }
    }

    fn send(
        &mut self,
        request: &Request,
        more: bool,
        limit: Option<Duration>,
    ) -> Result<(), ClientError> {
        let (method, parameters) = request.to_call();
        let call =
            Call { method, parameters: Some(parameters), oneway: false, more, upgrade: false };
        let bytes = wire::encode(&call).map_err(|e| self.protocol(e))?;
        let io = |source| ClientError::Io { path: self.path.clone(), operation: "write", source };
        let stream = self.stream.get_ref();
        stream.set_read_timeout(limit).map_err(io)?;
        stream.set_write_timeout(Some(ANSWER_TIME)).map_err(io)?;
        match (&mut &*stream).write_all(&bytes) {
            // A daemon that has no place for us says so and closes: read it.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
            sent => sent.map_err(io),
        }
    }

    fn receive<T: DeserializeOwned>(&mut self) -> Result<(T, bool), ClientError> {
        let mut bytes = Vec::new();
        let read = (&mut self.stream).take(MAX_REPLY).read_until(0, &mut bytes);
        read.map_err(|source| match source.kind() {
            ErrorKind::WouldBlock => self.lost("did not go on"),
            ErrorKind::ConnectionReset => self.lost("went away"),
            _ => ClientError::Io { path: self.path.clone(), operation: "read", source },
        })?;
        match bytes.pop() {
            Some(0) => {}
            Some(_) if bytes.len() as u64 + 1 >= MAX_REPLY => {
                return Err(self.protocol("a reply without an end"))
            }
            _ => return Err(self.lost("went away")),
        }
        let reply: Reply<IgnoredAny> =
            serde_json::from_slice(&bytes).map_err(|e| self.protocol(e))?;
        if let Some(name) = reply.error {
            let reply: Reply<Value> =
                serde_json::from_slice(&bytes).map_err(|e| self.protocol(e))?;
            let parameters = reply.parameters.unwrap_or_default();
            return Err(ApiError::from_wire(&name, parameters).into());
        }
        let reply: Reply<T> = serde_json::from_slice(&bytes).map_err(|e| self.protocol(e))?;
        let parameters =
            reply.parameters.ok_or_else(|| self.protocol("a reply without content"))?;
        Ok((parameters, reply.continues))
    }

    fn lost(&self, what: &'static str) -> ClientError {
        ClientError::Lost { path: self.path.clone(), what }
    }

    fn protocol(&self, reason: impl ToString) -> ClientError {
        ClientError::Protocol { path: self.path.clone(), reason: reason.to_string() }
    }
}
