//! Firmware's memory errors as the kernel prints them
//! (drivers/firmware/efi/cper.c, cper_estatus_print()).

use bulkhead_core::model::{Bytes, ExtlogMemEvent};

/// What goes before each line.
const MARK: &str = "[Hardware Error]:";

/// Bytes of `struct cper_mem_err_compact` (include/linux/cper.h).
const COMPACT: usize = 55;

/// Numbers of the place: as printed, bit of the validation bits (UEFI 2.10
/// N.2.5), and offset in `struct cper_mem_err_compact`.
const PLACE: [(&str, u32, usize); 8] = [
    ("node", 3, 8),
    ("card", 4, 10),
    ("module", 5, 12),
    ("bank", 6, 14),
    ("device", 7, 16),
    ("row", 8, 18),
    ("column", 9, 20),
    ("rank", 15, 48),
];

/// The memory errors in `lines` that were not corrected.
pub fn uncorrected<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<ExtlogMemEvent> {
    let mut reader = Reader::default();
    for line in lines {
        let line = without_number(line);
        if let Some(text) = line.strip_prefix(MARK) {
            reader.line(text.trim());
        }
    }
    reader.end_section();
    reader.found
}

/// `{1}[Hardware Error]:`: errors of a running kernel are numbered, those of
/// the boot before are not (drivers/acpi/apei/ghes.c, __ghes_print_estatus()).
fn without_number(line: &str) -> &str {
    let numbered = line.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    match numbered {
        Some((n, rest)) if n.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => line,
    }
}

#[derive(Default)]
struct Reader {
    section: Option<Section>,
    found: Vec<ExtlogMemEvent>,
}

#[derive(Default)]
struct Section {
    is_memory: bool,
    event: ExtlogMemEvent,
    valid: u64,
    place: Vec<(usize, u16)>,
    location: Option<String>,
}

impl Reader {
    fn line(&mut self, text: &str) {
        if text.starts_with("event severity:") {
            return self.end_section();
        }
        if let Some(severity) = section_severity(text) {
            self.end_section();
            let event = ExtlogMemEvent { sev: severity, ..ExtlogMemEvent::default() };
            self.section = Some(Section { event, ..Section::default() });
            return;
        }
        if let Some(section) = &mut self.section {
            section.line(text);
        }
    }

    fn end_section(&mut self) {
        self.found.extend(self.section.take().and_then(Section::into_event));
    }
}

impl Section {
    fn line(&mut self, text: &str) {
        let after = |name: &str| text.strip_prefix(name).map(str::trim);
        if let Some(kind) = after("section_type:") {
            self.is_memory = kind == "memory error";
        } else if let Some(fru) = after("fru_text:") {
            fru.clone_into(&mut self.event.fru_text);
        } else if let Some(addr) = after("physical_address:") {
            self.event.pa = hex(addr).unwrap_or(u64::MAX);
        } else if let Some(mask) = after("physical_address_mask:") {
            // Of a mask without a bit, or that cannot be read, nothing of the
            // address is left.
            self.event.pa_mask_lsb = hex(mask).unwrap_or(0).trailing_zeros() as u8;
        } else if let Some(kind) = after("error_type:") {
            let number = kind.split(',').next().unwrap_or(kind);
            self.event.etype = number.parse().unwrap_or(u8::MAX);
        } else if let Some(location) = after("DIMM location:") {
            self.location = Some(location.to_owned()).filter(|l| !l.starts_with("not present"));
        } else if text.contains(':') {
            self.numbers(text);
        }
    }

    /// `node:0 card:1 module:0 rank:1 bank:3 row:4711 column:12`
    fn numbers(&mut self, text: &str) {
        for (name, value) in text.split_whitespace().filter_map(|word| word.split_once(':')) {
            let Some((_, bit, offset)) = PLACE.into_iter().find(|(n, ..)| *n == name) else {
                continue;
            };
            // A row of more than 16 bits has its own place in the structure.
            if let Ok(value) = value.parse::<u16>() {
                self.valid |= 1 << bit;
                self.place.push((offset, value));
            }
        }
    }

    fn into_event(self) -> Option<ExtlogMemEvent> {
        let Section { is_memory, mut event, valid, place, location } = self;
        // Recoverable or fatal (include/linux/cper.h, CPER_SEV_*).
        if !is_memory || event.sev > 1 {
            return None;
        }
        let mut data = vec![0; COMPACT];
        let numbers = place.into_iter().map(|(at, value)| (at, value.to_le_bytes().to_vec()));
        for (at, bytes) in numbers.chain([(0, valid.to_le_bytes().to_vec())]) {
            for (to, from) in data.iter_mut().skip(at).zip(bytes) {
                *to = from;
            }
        }
        event.data = Bytes(data);
        if event.fru_text.is_empty() {
            event.fru_text = location.unwrap_or_default();
        }
        Some(event)
    }
}

/// `Error 0, type: fatal`, in the numbers of CPER_SEV_*.
fn section_severity(text: &str) -> Option<u8> {
    let (number, severity) = text.strip_prefix("Error ")?.split_once(", type: ")?;
    number.parse::<u32>().ok()?;
    match severity.trim() {
        "recoverable" => Some(0),
        "fatal" => Some(1),
        "corrected" => Some(2),
        // Nothing that matters.
        _ => Some(3),
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const FATAL: &str = "\
[Hardware Error]: event severity: fatal
[Hardware Error]:  Error 0, type: fatal
[Hardware Error]:  fru_text: A2
[Hardware Error]:   section_type: memory error
[Hardware Error]:    error_status: Storage error in DRAM memory (0x0000000000000400)
[Hardware Error]:   physical_address: 0x0000000012345000
[Hardware Error]:   physical_address_mask: 0xfffffffffffff000
[Hardware Error]:   node:0 card:1 module:0 rank:1 bank:3 row:4711 column:12 
[Hardware Error]:   error_type: 3, multi-bit ECC
[Hardware Error]:   DIMM location: CPU0 DIMM_A2 ";

    #[test]
    fn a_memory_error_is_read_to_the_last_field() {
        let found = uncorrected(FATAL.lines());
        let [event] = &found[..] else { panic!("{found:?}") };
        assert_eq!((event.sev, event.etype, event.pa), (1, 3, 0x1234_5000));
        assert_eq!((event.pa_mask_lsb, event.fru_text.as_str()), (12, "A2"));
        let data = &event.data;
        assert_eq!(data.u64_at(0), Some(0x8378));
        assert_eq!(
            (data.u16_at(10), data.u16_at(18), data.u16_at(48)),
            (Some(1), Some(4711), Some(1))
        );
    }

    #[test]
    fn numbered_lines_of_a_running_kernel_are_read_as_well() {
        let numbered: String = FATAL.lines().map(|line| format!("{{12}}{line}\n")).collect();
        assert_eq!(uncorrected(numbered.lines()), uncorrected(FATAL.lines()));
    }

    #[test]
    fn corrected_ones_and_other_sections_are_passed_over() {
        let corrected = FATAL.replace("type: fatal", "type: corrected");
        assert_eq!(uncorrected(corrected.lines()), []);
        let pcie = FATAL.replace("memory error", "PCIe error");
        assert_eq!(uncorrected(pcie.lines()), []);
    }

    #[test]
    fn an_address_whose_mask_cannot_be_read_is_none() {
        for mask in ["0x0", "0xfffffffffffff000x", ""] {
            let text = FATAL.replace("0xfffffffffffff000", mask);
            assert_eq!(uncorrected(text.lines())[0].pa_mask_lsb, 64, "{mask}");
        }
    }

    #[test]
    fn one_after_the_other_they_are_two() {
        let two = format!("{FATAL}\n{}", FATAL.replace("12345000", "54321000"));
        let pages: Vec<u64> = uncorrected(two.lines()).iter().map(|event| event.pa).collect();
        assert_eq!(pages, [0x1234_5000, 0x5432_1000]);
    }
}
