#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::stream::CHUNK;
use super::*;
use crate::api::handler::Backlog;
use crate::api::request::{ActRequest, Resolution, TargetKind};
use crate::api::samples;
use crate::api::views::{ActReply, BootView, Explanation, FaultView, IsolationView, Status};
use crate::event::Body as EventBody;
use bulkhead_core::model::{IsolationState, PageSize, Pfn, Target};
use jiff::Timestamp;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use proptest::prelude::*;
use std::io::{Read, Write};
use tempfile::TempDir;
use uuid::Uuid;

/// A daemon that remembers what it was asked.
#[derive(Default)]
struct Fake {
    pages: u64,
    stored: Vec<Event>,
    chunks: usize,
    statuses: usize,
    acts: Vec<ActRequest>,
    tickets: Vec<Ticket>,
}

impl Handler for Fake {
    fn status(&mut self) -> Status {
        self.statuses += 1;
        samples::healthy()
    }

    fn isolations(
        &mut self,
        _kind: Option<TargetKind>,
        after: Option<Target>,
        limit: usize,
    ) -> Vec<(Target, IsolationView)> {
        self.chunks += 1;
        let first = match after {
            Some(Target::Page(pfn)) => pfn.0 + 1,
            _ => 0,
        };
        (first..self.pages)
            .take(limit)
            .map(|pfn| {
                let page = samples::page(pfn, IsolationState::Isolated);
                (Target::Page(Pfn(pfn)), IsolationView::of(&page, PageSize::KIB_4))
            })
            .collect()
    }

    fn faults(&mut self, after: Option<Uuid>, _limit: usize) -> Vec<FaultView> {
        if after.is_none() {
            samples::faults()
        } else {
            Vec::new()
        }
    }

    fn explain(&mut self, id: Uuid) -> Result<Explanation, ApiError> {
        match id {
            samples::PAGE_FAULT => Ok(samples::explanation()),
            _ => Err(ApiError::NotFound(format!("fault {id}"))),
        }
    }

    fn isolate(&mut self, ticket: Ticket, request: ActRequest) -> Answer {
        self.acts.push(request);
        self.tickets.push(ticket);
        Answer::Later
    }

    fn release(&mut self, _ticket: Ticket, _request: ActRequest) -> Answer {
        Answer::Now(Err(ApiError::Refused("it is not ours".to_owned())))
    }

    fn resolve(&mut self, ticket: Ticket, _id: Uuid, _word: Resolution) -> Answer {
        self.tickets.push(ticket);
        Answer::Later
    }

    fn boots(&mut self) -> Vec<BootView> {
        samples::boots()
    }

    fn events(&mut self, _: Option<Timestamp>, after: Option<i64>, limit: usize) -> Backlog {
        self.chunks += 1;
        let from = after.unwrap_or(0) as usize;
        let events: Vec<_> = self.stored.iter().skip(from).take(limit).cloned().collect();
        let to = from + events.len();
        Backlog { events, next: (to < self.stored.len()).then_some(to as i64) }
    }
}

struct Rig {
    server: Server,
    daemon: Fake,
    now: Instant,
    dir: TempDir,
}

impl Rig {
    /// All peers are taken for root, whoever runs the test.
    fn new() -> Rig {
        Self::with_peers(|_| Ok(0))
    }

    fn with_peers(peer_uid: fn(&UnixStream) -> io::Result<u32>) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::bind(&dir.path().join("sock")).unwrap();
        server.peer_uid = peer_uid;
        Rig { server, daemon: Fake::default(), now: Instant::now(), dir }
    }

    fn connect(&mut self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("sock")).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.settle();
        stream
    }

    fn turn(&mut self) {
        self.server.turn(self.now, &mut self.daemon);
    }

    fn readable(&self) -> bool {
        let mut fds = [PollFd::new(self.server.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    /// Turns until nobody needs service: a server that spins fails here.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.readable() {
                return;
            }
            self.turn();
        }
        panic!("the server spins");
    }

    /// Sends all of `bytes`, with turns as the socket fills.
    fn send(&mut self, client: &mut UnixStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match client.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    assert!(self.readable(), "the server does not read on");
                    self.turn();
                }
                // It hung up on us; what it said before that is still there.
                Err(_) => return,
            }
        }
        self.settle();
    }

    /// What has been answered, and whether that was the last.
    fn replies(&mut self, client: &mut UnixStream) -> (Vec<Value>, bool) {
        let mut bytes = Vec::new();
        let mut chunk = [0; 65536];
        let closed = loop {
            self.settle();
            match client.read(&mut chunk) {
                Ok(0) => break true,
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break false,
                Err(_) => break true,
            }
        };
        let replies = bytes
            .split_inclusive(|b| *b == 0)
            .map(|reply| serde_json::from_slice(reply.strip_suffix(b"\0").unwrap()).unwrap())
            .collect();
        (replies, closed)
    }

    /// The one answer to `call`.
    fn ask(&mut self, client: &mut UnixStream, call: &Value) -> Value {
        self.send(client, &message(call));
        let (mut replies, _) = self.replies(client);
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }

    /// It still serves others.
    fn assert_serves(&mut self) {
        let mut other = self.connect();
        let reply = self.ask(&mut other, &call("Status"));
        assert_eq!(reply["parameters"]["health"], "ok", "{reply}");
    }
}

fn call(method: &str) -> Value {
    json!({ "method": format!("io.bulkhead.{method}") })
}

fn isolate_cpu_3() -> Value {
    json!({ "method": "io.bulkhead.Isolate", "parameters": { "kind": "cpu", "id": "3" } })
}

fn follow() -> Value {
    json!({ "method": "io.bulkhead.Subscribe", "parameters": { "follow": true }, "more": true })
}

fn message(call: &Value) -> Vec<u8> {
    wire::encode(call).unwrap()
}

fn event(n: usize) -> Event {
    let time = Timestamp::from_second(n as i64).unwrap();
    Event { time, body: EventBody::Config { what: format!("event {n} {}", "x".repeat(200)) } }
}

fn error(reply: &Value) -> &str {
    reply["error"].as_str().unwrap_or_else(|| panic!("no error: {reply}"))
}

/// Times of all events in `replies`, in seconds.
fn times(replies: &[Value]) -> Vec<i64> {
    let event = |event: &Value| serde_json::from_value::<Event>(event.clone()).unwrap();
    replies
        .iter()
        .flat_map(|reply| reply["parameters"]["events"].as_array().unwrap())
        .map(|e| event(e).time.as_second())
        .collect()
}

#[test]
fn every_method_that_needs_no_patience_is_answered_at_once() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    let fault = samples::PAGE_FAULT.to_string();
    for (method, parameters, key) in [
        ("io.bulkhead.Status", json!({}), "health"),
        ("io.bulkhead.ListIsolations", json!({ "kind": "cpu" }), "isolations"),
        ("io.bulkhead.ListFaults", Value::Null, "faults"),
        ("io.bulkhead.ExplainFault", json!({ "id": fault }), "advice"),
        ("io.bulkhead.Boots", json!({}), "boots"),
        ("org.varlink.service.GetInfo", json!({}), "vendor"),
        (
            "org.varlink.service.GetInterfaceDescription",
            json!({ "interface": "io.bulkhead" }),
            "description",
        ),
    ] {
        let reply = rig.ask(&mut client, &json!({ "method": method, "parameters": parameters }));
        assert!(reply["parameters"].get(key).is_some(), "{method}: {reply}");
        assert_eq!(reply.get("continues"), None);
    }
}

#[test]
fn a_fault_is_closed_when_what_it_held_is_settled() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    let parameters = json!({ "id": samples::PAGE_FAULT.to_string(), "word": "replaced" });
    let call = json!({ "method": "io.bulkhead.Resolve", "parameters": parameters });
    rig.send(&mut client, &message(&call));
    let ticket = rig.daemon.tickets.remove(0);
    rig.server.complete(ticket, Ok(samples::resolved()));
    let reply = rig.replies(&mut client).0.remove(0);
    assert_eq!(reply["parameters"], json!(samples::resolved()));
}

#[test]
fn errors_go_to_the_caller_who_may_go_on() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    let parameters = json!({ "kind": "cpu", "id": "3" });
    let release = json!({ "method": "io.bulkhead.Release", "parameters": parameters });
    for (call, expected) in [
        (call("Explode"), "org.varlink.service.MethodNotFound"),
        (json!({ "method": "org.example.Ping" }), "org.varlink.service.InterfaceNotFound"),
        (call("ExplainFault"), "org.varlink.service.InvalidParameter"),
        (call("Subscribe"), "org.varlink.service.ExpectedMore"),
        (
            json!({ "method": "io.bulkhead.Status", "upgrade": true }),
            "org.varlink.service.MethodNotImplemented",
        ),
        (release, "io.bulkhead.Refused"),
    ] {
        let reply = rig.ask(&mut client, &call);
        assert_eq!(error(&reply), expected);
    }
    assert_eq!(rig.ask(&mut client, &call("Status"))["parameters"]["schema"], 1);
}

#[test]
fn pipelined_calls_are_answered_in_order_one_a_turn() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend(message(&call("Status")));
    }
    bytes.extend(message(&call("Boots")));
    client.write_all(&bytes).unwrap();
    rig.turn();
    assert_eq!(rig.daemon.statuses, 1);
    let (replies, closed) = rig.replies(&mut client);
    assert_eq!((replies.len(), closed), (4, false));
    assert!(replies[3]["parameters"]["boots"].is_array());
}

#[test]
fn a_call_in_pieces_is_one_call() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    for byte in message(&call("Status")) {
        rig.send(&mut client, &[byte]);
    }
    assert_eq!(rig.replies(&mut client).0.len(), 1);
}

#[test]
fn who_stops_writing_still_gets_the_answer() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    client.write_all(&message(&call("Status"))).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let (replies, closed) = rig.replies(&mut client);
    assert_eq!((replies.len(), closed), (1, true));
}

#[test]
fn garbage_is_told_so_and_closed() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = format!(r#"{{"method":"io.bulkhead.Status","parameters":{deep}}}"#);
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n\0"[..],
        b"\0",
        b"[]\0",
        b"{\"method\":7}\0",
        b"\xff\xfe\0",
        bomb.as_bytes(),
    ] {
        let mut rig = Rig::new();
        let mut client = rig.connect();
        rig.send(&mut client, garbage);
        rig.send(&mut client, b"\0");
        let (replies, closed) = rig.replies(&mut client);
        assert_eq!((replies.len(), closed), (1, true));
        assert_eq!(error(&replies[0]), "io.bulkhead.BadRequest");
        rig.assert_serves();
    }
}

#[test]
fn a_call_that_ends_in_the_middle_is_told_so() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    client.write_all(b"{\"method\":").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let (replies, closed) = rig.replies(&mut client);
    assert_eq!((error(&replies[0]), closed), ("io.bulkhead.BadRequest", true));
}

#[test]
fn a_call_of_one_mebibyte_is_served_and_a_longer_one_closed() {
    let mut rig = Rig::new();
    let head = message(&call("Status"));
    let padded = |length: usize| {
        let mut bytes = vec![b' '; length - (head.len() - 1)];
        bytes.extend(&head);
        bytes
    };
    let mut client = rig.connect();
    let fits = padded(MAX_MESSAGE);
    rig.send(&mut client, &fits);
    assert_eq!(rig.replies(&mut client).0[0]["parameters"]["schema"], 1);

    let long = padded(MAX_MESSAGE + 1);
    rig.send(&mut client, &long);
    let (replies, closed) = rig.replies(&mut client);
    assert_eq!((error(&replies[0]), closed), ("io.bulkhead.BadRequest", true));

    let mut endless = rig.connect();
    rig.send(&mut endless, &vec![b'x'; 3 * MAX_MESSAGE]);
    let (replies, closed) = rig.replies(&mut endless);
    assert_eq!((error(&replies[0]), closed), ("io.bulkhead.BadRequest", true));
    rig.assert_serves();
}

#[test]
fn a_half_written_call_is_dropped_after_30_s_however_it_drips() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    assert_eq!(rig.server.next_deadline(), None);
    let start = rig.now;
    for second in 0..30 {
        rig.now = start + Duration::from_secs(second);
        rig.send(&mut client, b"{");
        assert_eq!(rig.server.next_deadline(), Some(start + Duration::from_secs(30)));
    }
    rig.now = start + Duration::from_secs(30);
    rig.turn();
    let (replies, closed) = rig.replies(&mut client);
    assert_eq!((error(&replies[0]), closed), ("io.bulkhead.BadRequest", true));
    assert_eq!(rig.server.next_deadline(), None);
}

#[test]
fn half_written_calls_cannot_pile_up_memory() {
    let mut rig = Rig::new();
    let part = vec![b' '; MAX_MESSAGE];
    let mut clients: Vec<_> = (0..12).map(|_| rig.connect()).collect();
    for client in &mut clients {
        rig.send(client, &part);
    }
    let unread: usize = rig.server.clients.values().map(|c| c.connection.unread()).sum();
    assert!(unread <= MAX_UNREAD, "{unread}");
    rig.assert_serves();
}

#[test]
fn the_65th_client_is_told_and_closed() {
    let mut rig = Rig::new();
    let mut clients: Vec<_> = (0..64).map(|_| rig.connect()).collect();
    let mut one_more = rig.connect();
    let (replies, closed) = rig.replies(&mut one_more);
    assert_eq!((error(&replies[0]), closed), ("io.bulkhead.TooManyClients", true));

    clients.pop();
    rig.settle();
    rig.assert_serves();
}

#[test]
fn users_cannot_lock_root_out() {
    thread_local!(static UID: std::cell::Cell<u32> = const { std::cell::Cell::new(1000) });
    let mut rig = Rig::with_peers(|_| Ok(UID.get()));
    let _clients: Vec<_> = (0..56).map(|_| rig.connect()).collect();
    let mut user = rig.connect();
    assert_eq!(error(&rig.replies(&mut user).0[0]), "io.bulkhead.TooManyClients");
    UID.set(0);
    rig.assert_serves();
}

#[test]
fn only_root_may_act() {
    let mut rig = Rig::with_peers(|_| Ok(1000));
    let mut client = rig.connect();
    let fault = json!({ "id": Uuid::nil(), "word": "repaired" });
    let cpu = json!({ "kind": "cpu", "id": "3" });
    for (method, parameters) in [("Isolate", &cpu), ("Release", &cpu), ("Resolve", &fault)] {
        let method = format!("io.bulkhead.{method}");
        let call = json!({ "method": method, "parameters": parameters });
        assert_eq!(error(&rig.ask(&mut client, &call)), "io.bulkhead.PermissionDenied");
        let call = json!({ "method": method, "parameters": parameters, "oneway": true });
        rig.send(&mut client, &message(&call));
    }
    assert!(rig.daemon.acts.is_empty());
    assert_eq!(rig.ask(&mut client, &call("Status"))["parameters"]["schema"], 1);
}

#[test]
fn the_kernel_says_who_the_peer_is() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    assert_eq!(peer_uid(&stream).unwrap(), nix::unistd::getuid().as_raw());
}

#[test]
fn an_outcome_that_takes_time_holds_up_only_its_caller() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    rig.send(&mut client, &message(&isolate_cpu_3()));
    rig.send(&mut client, &message(&call("Status")));
    assert_eq!(rig.replies(&mut client).0.len(), 0);
    rig.assert_serves();

    let ticket = rig.daemon.tickets.remove(0);
    let cpu = samples::cpu(3, IsolationState::Isolated);
    rig.server.complete(ticket, Ok(ActReply::of(&cpu, PageSize::KIB_4, false)));
    let (replies, _) = rig.replies(&mut client);
    assert_eq!(replies[0]["parameters"]["isolation"]["id"], "3");
    assert_eq!(replies[0]["parameters"]["together"], json!(["1", "5"]));
    assert_eq!(replies[1]["parameters"]["schema"], 1);
}

#[test]
fn an_outcome_for_a_client_that_is_gone_goes_nowhere() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    rig.send(&mut client, &message(&isolate_cpu_3()));
    drop(client);
    rig.settle();
    assert!(rig.server.clients.is_empty());
    let mut other = rig.connect();
    rig.send(&mut other, &message(&isolate_cpu_3()));
    let stale = rig.daemon.tickets.remove(0);
    rig.server.complete::<ActReply>(stale, Err(ApiError::Failed("late".to_owned())));
    assert_eq!(rig.replies(&mut other).0.len(), 0);
}

#[test]
fn a_oneway_call_acts_and_is_not_answered() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    let mut call = isolate_cpu_3();
    call["oneway"] = true.into();
    client.write_all(&message(&call)).unwrap();
    drop(client);
    rig.settle();
    assert_eq!(rig.daemon.acts.len(), 1);
    let ticket = rig.daemon.tickets.remove(0);
    rig.server.complete::<ActReply>(ticket, Err(ApiError::Failed("late".to_owned())));
    rig.assert_serves();
}

#[test]
fn a_long_list_needs_more_and_comes_in_chunks() {
    let mut rig = Rig::new();
    rig.daemon.pages = 1000;
    let mut client = rig.connect();
    let plain = rig.ask(&mut client, &call("ListIsolations"));
    assert_eq!(error(&plain), "org.varlink.service.ExpectedMore");

    let more = json!({ "method": "io.bulkhead.ListIsolations", "more": true });
    rig.send(&mut client, &message(&more));
    let (replies, _) = rig.replies(&mut client);
    let sizes: Vec<_> =
        replies.iter().map(|r| r["parameters"]["isolations"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [256, 256, 256, 232]);
    let last = replies.iter().position(|r| r.get("continues").is_none());
    assert_eq!(last, Some(3));
    let ids = replies.iter().flat_map(|r| r["parameters"]["isolations"].as_array().unwrap());
    let ids: Vec<_> = ids.map(|i| i["id"].as_str().unwrap().to_owned()).collect();
    let all: Vec<_> = (0..1000).map(|pfn| format!("{:#x}", pfn << 12)).collect();
    assert_eq!(ids, all);
}

#[test]
fn a_slow_reader_costs_a_bounded_buffer_and_gets_the_rest_later() {
    let mut rig = Rig::new();
    rig.daemon.pages = 100_000;
    let mut client = rig.connect();
    let more = json!({ "method": "io.bulkhead.ListIsolations", "more": true });
    rig.send(&mut client, &message(&more));
    assert!(rig.daemon.chunks < 20, "{} chunks made for nobody", rig.daemon.chunks);
    let held = rig.server.clients.values().next().unwrap().connection.unsent();
    assert!(held < HIGH_WATER + 200_000, "{held}");
    rig.assert_serves();
    let (replies, _) = rig.replies(&mut client);
    assert_eq!(replies.len(), 100_000_usize.div_ceil(CHUNK));
}

#[test]
fn calls_are_not_served_to_who_does_not_read_the_answers() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    let status = message(&call("Status"));
    let mut sent = 0;
    loop {
        match client.write(&status) {
            Ok(_) => sent += 1,
            Err(_) if rig.readable() => rig.turn(),
            Err(_) => break,
        }
    }
    assert!(rig.daemon.statuses < sent, "{sent} calls, all served");
    let held = &rig.server.clients.values().next().unwrap().connection;
    assert!(held.unsent() < HIGH_WATER + 10_000 && held.unread() < MAX_MESSAGE);
    rig.assert_serves();
}

#[test]
fn a_client_that_vanishes_in_the_middle_of_an_answer_is_forgotten() {
    let mut rig = Rig::new();
    rig.daemon.pages = 100_000;
    let mut client = rig.connect();
    rig.send(&mut client, b"{\"method\":\"io.bulkhead.ListIsolations\",\"more\":true}\0");
    drop(client);
    rig.settle();
    assert!(rig.server.clients.is_empty());
}

#[test]
fn a_subscriber_gets_each_event_once_stored_or_live() {
    let mut rig = Rig::new();
    rig.daemon.stored = (0..200).map(event).collect();
    let mut client = rig.connect();
    client.write_all(&message(&follow())).unwrap();
    // New ones come in while the stored ones are still being sent, and after.
    let mut replies = Vec::new();
    for n in 200..400 {
        rig.turn();
        rig.daemon.stored.push(event(n));
        rig.server.publish(rig.now, &event(n));
        if n > 202 {
            replies.extend(rig.replies(&mut client).0);
        }
    }
    assert_eq!(times(&replies), (0..400).collect::<Vec<_>>());
    assert!(replies.iter().all(|r| r["continues"] == true));
    assert!(rig.daemon.chunks < 10, "{} pages of stored events", rig.daemon.chunks);
}

#[test]
fn without_follow_the_last_stored_event_is_the_end() {
    let mut rig = Rig::new();
    rig.daemon.stored = (0..200).map(event).collect();
    let mut client = rig.connect();
    rig.send(&mut client, b"{\"method\":\"io.bulkhead.Subscribe\",\"more\":true}\0");
    let (replies, _) = rig.replies(&mut client);
    assert_eq!(times(&replies), (0..200).collect::<Vec<_>>());
    assert_eq!(replies.last().unwrap().get("continues"), None);
    assert_eq!(rig.ask(&mut client, &call("Status"))["parameters"]["schema"], 1);
}

#[test]
fn a_subscriber_that_does_not_read_is_dropped_with_a_note() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    rig.send(&mut client, &message(&follow()));
    let mut reader = rig.connect();
    rig.send(&mut reader, &message(&follow()));
    let mut read = 0;
    for n in 0..20_000 {
        rig.server.publish(rig.now, &event(n));
        if n % 100 == 0 {
            read += times(&rig.replies(&mut reader).0).len();
        }
    }
    read += times(&rig.replies(&mut reader).0).len();
    assert_eq!(read, 20_000);

    let (mut replies, closed) = rig.replies(&mut client);
    let note = replies.pop().unwrap();
    assert_eq!((error(&note), closed), ("io.bulkhead.TooSlow", true));
    let got = times(&replies);
    assert_eq!(got, (0..got.len() as i64).collect::<Vec<_>>());
}

#[test]
fn who_never_reads_its_last_reply_is_forgotten_after_30_s() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    rig.send(&mut client, &message(&follow()));
    for n in 0..20_000 {
        rig.server.publish(rig.now, &event(n));
    }
    rig.settle();
    let deadline = rig.server.next_deadline().unwrap();
    rig.now = deadline;
    rig.turn();
    assert!(rig.server.clients.is_empty());
}

#[test]
fn a_subscriber_that_leaves_is_forgotten() {
    let mut rig = Rig::new();
    let mut client = rig.connect();
    rig.send(&mut client, &message(&follow()));
    drop(client);
    rig.settle();
    assert!(rig.server.clients.is_empty());
}

#[test]
fn one_turn_visits_a_bounded_number_of_clients_and_none_starves() {
    let mut rig = Rig::new();
    let mut clients: Vec<_> = (0..64).map(|_| rig.connect()).collect();
    for client in &mut clients {
        for _ in 0..5 {
            client.write_all(&message(&call("Status"))).unwrap();
        }
    }
    rig.turn();
    assert!(rig.daemon.statuses <= VISITS, "{}", rig.daemon.statuses);
    // Five rounds over 64 clients.
    for _ in 0..5 * 64 / VISITS + 2 {
        rig.turn();
    }
    for client in &mut clients {
        assert_eq!(rig.replies(client).0.len(), 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_hurt_the_server(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                Just(message(&call("Status"))),
                Just(message(&isolate_cpu_3())),
                Just(message(&follow())),
                Just(vec![0]),
            ],
            0..12,
        ),
        leave in any::<bool>(),
    ) {
        let mut rig = Rig::new();
        rig.daemon.stored = vec![event(1)];
        let mut client = rig.connect();
        for piece in &pieces {
            rig.send(&mut client, piece);
            rig.server.publish(rig.now, &event(2));
        }
        if leave {
            drop(client);
        }
        rig.settle();
        rig.assert_serves();
    }

    #[test]
    fn any_cut_of_a_call_is_the_same_call(cuts in prop::collection::vec(0..60_usize, 0..6)) {
        let mut rig = Rig::new();
        let mut client = rig.connect();
        let bytes = message(&json!({ "method": "io.bulkhead.Status", "parameters": {} }));
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            rig.send(&mut client, &bytes[pair[0]..pair[1]]);
        }
        prop_assert_eq!(rig.replies(&mut client).0.len(), 1);
    }
}
