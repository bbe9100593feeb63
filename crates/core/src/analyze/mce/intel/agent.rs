//! What reports through an Intel server's banks.

use std::fmt;

/// A unit that owns a machine-check bank, or shares one with its likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// Instruction fetch unit.
    InstructionFetch,
    /// Data cache unit, with loads and stores.
    DataCache,
    /// Data TLB.
    DataTlb,
    /// Mid-level cache: the core's L2.
    MidLevelCache,
    /// Power control unit ("PCU", "Punit").
    PowerControl,
    /// QPI or UPI link between sockets.
    Link,
    /// Integrated I/O.
    Io,
    /// Home agent of older servers, and what took its place between mesh and
    /// memory controllers: M2M, B2CMI.
    HomeAgent(Option<u8>),
    /// The same, for high-bandwidth memory.
    HbmHomeAgent,
    /// Caching agent with its slice of the L3 (CBo, CHA).
    CachingAgent,
    /// A memory controller.
    Memory(Option<Channel>),
    /// A high-bandwidth memory controller.
    HbmMemory,
}

/// A channel of a socket's memory controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// Memory controller of the socket.
    pub controller: u8,
    /// Channel of the controller.
    pub channel: u8,
}

/// Server generations whose banks above the core's are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Sandy Bridge-EP.
    SandyBridge,
    /// Ivy Bridge-EP and -EX.
    IvyBridge,
    /// Haswell-EP and -EX.
    Haswell,
    /// Broadwell-DE.
    BroadwellDe,
    /// Broadwell-EP and -EX.
    Broadwell,
    /// Skylake-SP, Cascade Lake, Cooper Lake.
    Skylake,
    /// Ice Lake-SP.
    IceLake,
    /// Ice Lake-D.
    IceLakeD,
    /// Snow Ridge (Tremont).
    SnowRidge,
    /// Sapphire Rapids, Emerald Rapids.
    SapphireRapids,
    /// Granite Rapids, Sierra Forest, Clearwater Forest.
    GraniteRapids,
}

impl Generation {
    /// By CPUID model of family 6 (arch/x86/include/asm/intel-family.h).
    pub fn of(model: u32) -> Option<Generation> {
        Some(match model {
            0x2d => Generation::SandyBridge,
            0x3e => Generation::IvyBridge,
            0x3f => Generation::Haswell,
            0x56 => Generation::BroadwellDe,
            0x4f => Generation::Broadwell,
            0x55 => Generation::Skylake,
            0x6a => Generation::IceLake,
            0x6c => Generation::IceLakeD,
            0x86 => Generation::SnowRidge,
            0x8f | 0xcf => Generation::SapphireRapids,
            0xad | 0xae | 0xaf | 0xdd => Generation::GraniteRapids,
            _ => return None,
        })
    }

    /// Who reports through `bank`, 4 and up.
    ///
    /// Sources: SDM vol. 4, the MSR tables of each model, which say "bank MCn
    /// reports MC errors from …" (06_3EH, 06_3FH, 06_4FH, 06_55H); SDM vol. 3B,
    /// "Incremental Decoding Information" of each model; drivers/edac/
    /// i10nm_base.c (i10nm_mc_decode) for the channels of 06_6AH and 06_8FH;
    /// the decoders of mcelog and rasdaemon for the rest.
    pub fn agent(self, bank: u8) -> Option<Agent> {
        use Generation::*;
        let channels = |first: u8, per_controller: u8| {
            let n = bank.checked_sub(first)?;
            let channel = Channel { controller: n / per_controller, channel: n % per_controller };
            Some(Agent::Memory(Some(channel)))
        };
        match (self, bank) {
            (SandyBridge, 6..=7) => Some(Agent::Link),
            (SandyBridge, 8..=11) => Some(Agent::Memory(None)),

            (IvyBridge | Haswell | Broadwell, 5) => Some(Agent::Link),
            (IvyBridge | Haswell | Broadwell, 6) => Some(Agent::Io),
            (IvyBridge | Haswell | Broadwell, 7..=8) => home_agent(bank, 7),
            (IvyBridge | Haswell | Broadwell, 9..=16) => channels(9, 4),
            (IvyBridge, 17..=31) | (Haswell | Broadwell, 17..=19) => Some(Agent::CachingAgent),
            (Haswell | Broadwell, 20..=21) => Some(Agent::Link),
            (BroadwellDe, 9..=10) => channels(9, 2),

            (Skylake, 5 | 12 | 19) => Some(Agent::Link),
            (Skylake, 6) => Some(Agent::Io),
            (Skylake, 7..=8) => home_agent(bank, 7),
            (Skylake, 9..=11) => Some(Agent::CachingAgent),
            (Skylake, 13..=16) => channels(13, 2),
            (Skylake, 17..=18) => {
                let channel = Channel { controller: bank - 17, channel: 2 };
                Some(Agent::Memory(Some(channel)))
            }

            (IceLake, 5 | 7 | 8) => Some(Agent::Link),
            (IceLake, 12 | 16 | 20 | 24) => home_agent(bank / 4, 3),
            (IceLake, 13..=27) => channels(13, 4),
            (IceLakeD, 12 | 16) => home_agent(bank / 4, 3),
            (IceLakeD, 13..=19) => channels(13, 4),
            (SnowRidge, 12) => home_agent(bank, 12),
            (SnowRidge, 13..=15) => channels(13, 4),

            (SapphireRapids, 5) => Some(Agent::Link),
            (SapphireRapids, 12) => Some(Agent::HomeAgent(None)),
            (SapphireRapids, 13..=20) => channels(13, 2),
            (SapphireRapids, 29) => Some(Agent::HbmHomeAgent),
            (SapphireRapids, 30..=31) => Some(Agent::HbmMemory),

            (GraniteRapids, 5) => Some(Agent::Link),
            (GraniteRapids, 6) => Some(Agent::PowerControl),
            (GraniteRapids, 12) => Some(Agent::HomeAgent(None)),
            (GraniteRapids, 13..=24) => channels(13, 1),
            (GraniteRapids, _) => None,

            (_, 4) => Some(Agent::PowerControl),
            _ => None,
        }
    }
}

fn home_agent(bank: u8, first: u8) -> Option<Agent> {
    Some(Agent::HomeAgent(Some(bank.checked_sub(first)?)))
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Agent::InstructionFetch => f.write_str("instruction fetch unit"),
            Agent::DataCache => f.write_str("data cache unit"),
            Agent::DataTlb => f.write_str("data TLB"),
            Agent::MidLevelCache => f.write_str("mid-level cache"),
            Agent::PowerControl => f.write_str("power control unit"),
            Agent::Link => f.write_str("socket link"),
            Agent::Io => f.write_str("integrated I/O"),
            Agent::HomeAgent(Some(n)) => write!(f, "home agent {n}"),
            Agent::HomeAgent(None) => f.write_str("home agent"),
            Agent::HbmHomeAgent => f.write_str("HBM home agent"),
            Agent::CachingAgent => f.write_str("caching agent"),
            Agent::Memory(Some(Channel { controller, channel })) => {
                write!(f, "memory controller {controller} channel {channel}")
            }
            Agent::Memory(None) => f.write_str("memory controller"),
            Agent::HbmMemory => f.write_str("HBM memory controller"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(generation: Generation, bank: u8) -> Option<(u8, u8)> {
        match generation.agent(bank) {
            Some(Agent::Memory(Some(c))) => Some((c.controller, c.channel)),
            _ => None,
        }
    }

    #[test]
    fn each_generation_numbers_its_channels_its_own_way() {
        let skylake: Vec<_> =
            (13..=18).filter_map(|bank| channel(Generation::Skylake, bank)).collect();
        assert_eq!(skylake, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2)]);
        assert_eq!(channel(Generation::Haswell, 13), Some((1, 0)));
        assert_eq!(channel(Generation::IceLake, 26), Some((3, 1)));
        assert_eq!(channel(Generation::SapphireRapids, 20), Some((3, 1)));
        assert_eq!(channel(Generation::GraniteRapids, 24), Some((11, 0)));
    }

    #[test]
    fn between_ice_lakes_channels_lie_its_home_agents() {
        for (n, bank) in [(0, 12), (1, 16), (2, 20), (3, 24)] {
            assert_eq!(Generation::IceLake.agent(bank), Some(Agent::HomeAgent(Some(n))));
        }
        assert_eq!(Generation::IceLake.agent(28), None);
    }
}
