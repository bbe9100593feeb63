//! Plain data: the words of the house, as types.

pub mod address;
pub mod bytes;
pub mod component;
pub mod cpu;
pub mod cxl;
pub mod dimms;
pub mod dram;
pub mod ending;
pub mod fault;
pub mod firmware;
pub mod hex;
pub mod isolation;
pub mod ledger;
pub mod machine;
pub mod memory_config;
pub mod record;
pub mod report;
pub mod survey;
pub mod time;

pub use address::{PageSize, Pfn, PhysAddr};
pub use bytes::Bytes;
pub use component::{CacheKind, CacheLevel, Component};
pub use cpu::{ApicId, CpuId, CpuIdentity, Ppin, SocketId};
pub use cxl::{CxlDram, CxlGeneralMedia, CxlMedia};
pub use dram::{BitPattern, Dimm, DimmId, DimmSpace, DramPlace, LoggedError};
pub use ending::{Ending, Verdict};
pub use fault::{Cover, CoverBy, Evidence, Fault, FaultKind, FaultState, Rule, Severity};
pub use firmware::{ArmErrorInfo, ArmEvent, ExtlogMemEvent, NonStandardEvent};
pub use isolation::{Asked, By, Home, Isolation, IsolationState, Target, Undo, Urgency};
pub use ledger::{Group, Ledger, Standing, Standings};
pub use machine::{Cpu, Machine, Vendor};
pub use memory_config::{KnownMemory, MemoryConfig, MemoryConfigId, MemoryRange, Module};
pub use record::{McEvent, MceRecord, MemoryFailure, Record};
pub use report::{Report, Source};
pub use survey::{BoundInterrupt, BoundTask, Partition, Scheduling, Survey};
pub use time::{Stamp, Time, Wall};
