//! What host and guest of a virtual-machine test have in common: the protocol between them.

pub mod wire;
