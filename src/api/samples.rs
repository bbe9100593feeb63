//! Views for the tests of API and CLI: a host with a page and a core gone.

use super::views::*;
use bulkhead_core::model::{BoundInterrupt, BoundTask, Scheduling, Survey};
use bulkhead_core::model::{
    By, Component, Cover, CoverBy, CpuId, DimmId, DramPlace, Evidence, Fault, FaultState, Home,
    Isolation, IsolationState, McEvent, PageSize, Pfn, Record, Rule, Severity, Source, Stamp,
    Target, Time, Undo, Urgency, Wall,
};
use jiff::Timestamp;
use uuid::Uuid;

/// 2026-03-01T12:00:00Z.
pub const NOON: i64 = 1_772_366_400;

pub const PAGE_FAULT: Uuid = Uuid::from_u128(0x6f1d3c1e_8f0a_5d52_9a3b_0c1d2e3f4a5b);
pub const CPU_FAULT: Uuid = Uuid::from_u128(0xb2a7f9d4_51c6_5e0f_8b7d_1a2b3c4d5e6f);

/// So many seconds after noon.
pub fn stamp(seconds: i64) -> Stamp {
    let wall = (NOON + seconds) * 1_000_000_000;
    Stamp { at: Time(wall.unsigned_abs()), wall: Wall(wall) }
}

pub fn time(seconds: i64) -> Timestamp {
    crate::event::timestamp(stamp(seconds).wall)
}

pub fn page(pfn: u64, state: IsolationState) -> Isolation {
    Isolation {
        target: Target::Page(Pfn(pfn)),
        state,
        by: By::Bulkhead,
        since: stamp(-180),
        taken: Some(stamp(-180)),
        why: "2 corrected errors within 24h".to_owned(),
        fault: Some(PAGE_FAULT),
        release: None,
        next_try: None,
        failures: 0,
        failing_since: None,
        asked: None,
        ue: None,
        together: Vec::new(),
        bound: Vec::new(),
        urgency: Urgency::default(),
        home: Home::Unknown,
        restores: false,
        unreadable: false,
    }
}

pub fn cpu(id: u32, state: IsolationState) -> Isolation {
    Isolation {
        target: Target::Cpu(CpuId(id)),
        why: "3 corrected errors in its L1 data cache within 72h".to_owned(),
        fault: Some(CPU_FAULT),
        together: vec![CpuId(1), CpuId(5)],
        ..page(0, state)
    }
}

/// What is bound to CPU 1.
pub fn survey() -> Survey {
    let task = BoundTask {
        tid: 4712,
        pid: 4711,
        start: 90_000,
        comm: "clock".to_owned(),
        policy: Scheduling::Normal,
        kernel: false,
        allowed: "1".to_owned(),
    };
    let name = "nvme0q1".to_owned();
    let interrupt = BoundInterrupt { irq: 24, name, allowed: "1".to_owned() };
    Survey {
        tasks: vec![task],
        more_tasks: 2,
        interrupts: vec![interrupt],
        unknown: vec!["tasks beyond the first 9".to_owned()],
        ..Survey::default()
    }
}

/// Two hardware threads gone, a page gone for good, one that cannot be moved,
/// and one that the limit holds back.
pub fn ledger() -> Vec<IsolationView> {
    let failed = Isolation {
        why: "in use by the kernel: EIO from soft_offline_page".to_owned(),
        next_try: Some(stamp(3420)),
        failures: 1,
        failing_since: Some(stamp(-180)),
        ..page(0x8001, IsolationState::Failed)
    };
    let refused = Isolation {
        why: "the limit of 4 MiB in all is reached".to_owned(),
        ..page(0x8002, IsolationState::Refused)
    };
    let released = Isolation {
        by: By::Admin,
        release: Some(Undo::NextBoot),
        why: "released by an admin: DIMM was replaced".to_owned(),
        fault: None,
        ..page(0x12345, IsolationState::Isolated)
    };
    [
        cpu(1, IsolationState::Isolated),
        cpu(5, IsolationState::Isolated),
        page(0x8000, IsolationState::Isolated),
        failed,
        refused,
        released,
    ]
    .iter()
    .map(|isolation| IsolationView::of(isolation, PageSize::KIB_4))
    .collect()
}

pub fn page_fault() -> Fault {
    let record = |seconds, syndrome| Evidence {
        first: stamp(seconds).wall,
        last: stamp(seconds).wall,
        records: 1,
        errors: 1,
        source: Source::McEvent,
        record: Record::MemoryController(McEvent {
            error_count: 1,
            address: 0x0800_0abc,
            syndrome,
            msg: "memory read error".to_owned(),
            label: "CPU_SrcID#0_MC#0_Chan#0_DIMM#0".to_owned(),
            driver_detail: "rank:0 bank:3 row:0x1f2 column:0x40".to_owned(),
            ..McEvent::default()
        }),
    };
    Fault {
        cover: None,
        home: Home::Unknown,
        id: PAGE_FAULT,
        component: Component::Page { pfn: Pfn(0x8000) },
        rule: Rule {
            id: "page-ce".to_owned(),
            numbers: vec![
                ("window".to_owned(), "24h".to_owned()),
                ("errors".to_owned(), "2".to_owned()),
            ],
        },
        severity: Severity::Minor,
        state: FaultState::Isolated,
        opened: stamp(-180),
        first: stamp(-7380),
        last: stamp(-180),
        errors: 2,
        fru: Some("CPU_SrcID#0_MC#0_Chan#0_DIMM#0".to_owned()),
        evidence: vec![record(-7380, 0), record(-180, u64::MAX)],
        decision: "Take the page: 2 corrected errors within 24h.".to_owned(),
        summary: "2 corrected errors in page 0x12345000 within 24h".to_owned(),
        advice: "Nothing now. Plan to replace the DIMM if more of its pages fail.".to_owned(),
    }
}

/// A row of 24 pages, of which two had errors.
pub fn row_fault() -> Fault {
    let dimm = DimmId { controller: Some(0), channel: Some(0), slot: Some(0), ..DimmId::default() };
    let place = DramPlace {
        dimm,
        rank: Some(0),
        bank_group: Some(1),
        bank: Some(3),
        row: Some(498),
        ..DramPlace::default()
    };
    let label = "CPU_SrcID#0_MC#0_Chan#0_DIMM#0".to_owned();
    let pages = (0..24).map(|n| Pfn(0x8000 + 2 * n)).collect();
    let numbers = [("errors", "2"), ("columns", "2"), ("window", "7d")];
    Fault {
        cover: Some(Cover { by: CoverBy::Exact, pages }),
        component: Component::Row { place, label },
        rule: Rule {
            id: "row-ce".to_owned(),
            numbers: numbers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        },
        fru: Some("DIMM A1 (serial 85A3F1)".to_owned()),
        ..page_fault()
    }
}

pub fn explanation() -> Explanation {
    let attempt = |seconds, answered: &str| AttemptView {
        time: time(seconds),
        asked: "0x8000000 > /sys/devices/system/memory/soft_offline_page".to_owned(),
        answered: answered.to_owned(),
    };
    let attempts = vec![
        attempt(-180, "EBUSY; in service (kpageflags)"),
        attempt(-179, "ok; out of service (kpageflags: HWPOISON)"),
    ];
    Explanation::of(&page_fault(), PageSize::KIB_4, attempts)
}

pub fn faults() -> Vec<FaultView> {
    let core = Fault {
        id: CPU_FAULT,
        component: Component::Cpu { cpus: vec![CpuId(1), CpuId(5)] },
        rule: Rule { id: "cpu-internal".to_owned(), numbers: Vec::new() },
        severity: Severity::Major,
        state: FaultState::Escalated,
        first: stamp(-90_000),
        errors: 3,
        fru: None,
        ..page_fault()
    };
    [page_fault(), core].iter().map(|fault| FaultView::of(fault, PageSize::KIB_4)).collect()
}

pub fn boots() -> Vec<BootView> {
    vec![
        BootView {
            boot_id: Some("6d1b0f62-3f0e-4f4e-9d0c-2f9f6f6a1b11".to_owned()),
            started: Some(time(-9000)),
            verdict: Verdict::Running,
            ..BootView::default()
        },
        BootView {
            boot_id: Some("0a5e6c0e-70a6-4b52-8a6d-4c1f0f1d2e22".to_owned()),
            started: Some(time(-90_000)),
            ended: Some(time(-9100)),
            verdict: Verdict::Stall,
            cause: Some("bulkhead-watchdog: stall: cpu 3: not scheduled for 20 s".to_owned()),
            cpu: Some(3),
            confidence: Some(0.98),
            evidence: vec![
                "/sys/fs/pstore/dmesg-erst-1 ends at 22 h 28 min after boot with \"Kernel panic - not \
                 syncing: sysrq triggered crash\""
                    .to_owned(),
                "watchdog0 (i6300ESB timer) was armed with 60 s".to_owned(),
            ],
        },
        BootView {
            boot_id: Some("35b0d1c1-7f52-4c7f-8c83-9a5e0e3f3f33".to_owned()),
            started: Some(time(-990_000)),
            ended: Some(time(-91_000)),
            verdict: Verdict::Clean,
            cause: Some("The host was shut down in order".to_owned()),
            cpu: None,
            confidence: Some(0.99),
            evidence: vec!["The shutdown came to its end at 10 d 10 h after boot".to_owned()],
        },
    ]
}

/// A host that nothing ails.
pub fn healthy() -> Status {
    let source = |name: &str, state| SourceView {
        name: name.to_owned(),
        via: "bpf".to_owned(),
        state,
        reports: 0,
        lost: 0,
        why: String::new(),
    };
    Status {
        schema: Status::SCHEMA,
        health: Health::Ok,
        mode: Mode::Isolate,
        boot_id: "6d1b0f62-3f0e-4f4e-9d0c-2f9f6f6a1b11".to_owned(),
        kernel: "6.12.48-amd64".to_owned(),
        started: time(-8990),
        state: Saved::Saved,
        isolated: IsolatedView { cpus: 0, pages: 0, memory_bytes: 0 },
        pending: 0,
        failed: 0,
        stuck: 0,
        refused: 0,
        unlisted: 0,
        open_faults: 0,
        escalated: 0,
        sources: vec![
            source("mce:mce_record", SourceState::Ok),
            source("ras:mc_event", SourceState::Ok),
            source("ras:memory_failure_event", SourceState::Absent),
        ],
        checks: vec![CheckView { name: "edac-sysfs".to_owned(), differs: 0 }],
        evidence: TrackedView::default(),
        limits: LimitsView {
            memory_bytes: Used { used: 0, max: 4 << 20 },
            pages_today: Used { used: 0, max: 1024 },
            cpus: Used { used: 0, max: 4 },
        },
        watchdog: WatchdogView::not_running(),
        last_boot: BootView::default(),
        conflicts: Vec::new(),
    }
}

/// The host of [`ledger`] and [`faults`].
pub fn ailing() -> Status {
    let mut status = healthy();
    status.isolated = IsolatedView { cpus: 2, pages: 2, memory_bytes: 8192 };
    (status.failed, status.stuck, status.refused) = (1, 1, 1);
    (status.open_faults, status.escalated) = (2, 1);
    if let [mce, mc, _] = status.sources.as_mut_slice() {
        mce.reports = 1005;
        (mc.state, mc.reports, mc.lost) = (SourceState::Lossy, 12, 7);
    }
    status.limits.memory_bytes.used = 8192;
    status.limits.pages_today.used = 1;
    status.limits.cpus.used = 2;
    status.checks = vec![CheckView { name: "edac-sysfs".to_owned(), differs: 3 }];
    status.evidence = TrackedView { tracked: 65_536, evicted: 7, doubtful: 2 };
    status.conflicts = vec!["rasdaemon offlines pages too; turn its policy off".to_owned()];
    status.last_boot = boots().into_iter().nth(1).unwrap_or_default();
    status.watchdog = WatchdogView {
        state: "armed".to_owned(),
        pid: Some(77),
        device: Some("watchdog0".to_owned()),
        identity: Some("i6300ESB timer".to_owned()),
        timeout_s: Some(60),
        cpus: 4,
        suspects: vec![SuspectView { cpu: 3, probe: "other".to_owned(), silent_ms: 12_000 }],
        ..WatchdogView::not_running()
    };
    status.health = status.assess();
    status
}

/// A core back at once, a page at the next boot, one that another fault holds.
pub fn resolved() -> ResolveReply {
    let view = |line: Isolation| IsolationView::of(&line, PageSize::KIB_4);
    let back = |id| view(Isolation { by: By::Admin, ..cpu(id, IsolationState::Released) });
    let page = page(0x8000, IsolationState::Isolated);
    let why = "The release of page 0x8000000 waits for a reboot: the kernel offers no way to give \
               a page back."
        .to_owned();
    let waiting = Isolation { release: Some(Undo::NextBoot), fault: None, why, ..page.clone() };
    let why = format!("The open fault {PAGE_FAULT} of page 0x8001000 holds it.");
    let staying = Isolation { target: Target::Page(Pfn(0x8001)), why, ..page };
    let mut faults = faults();
    let fault = FaultView { state: FaultState::Replaced, ..faults.remove(0) };
    ResolveReply {
        released: vec![back(1), back(5)],
        waiting: vec![view(waiting)],
        staying: vec![view(staying)],
        same_part: faults,
        ..ResolveReply::of(fault)
    }
}
