//! A page that memory which changed left where it was.

use super::*;

const ADDR: u64 = 0x800_0040;

/// A host with one DIMM, under the name that errors have.
fn host(serial: Option<&str>) -> Machine {
    let id = DimmId { controller: Some(0), channel: Some(1), slot: Some(0), ..DimmId::default() };
    let dimm = Dimm {
        id: Some(id),
        label: "A1".to_owned(),
        locator: Some("A1".to_owned()),
        serial: serial.map(str::to_owned),
        ..Dimm::default()
    };
    Machine { dimms: vec![dimm], ..machine() }
}

/// An error as skx_edac decodes it.
fn error(address: u64, row: u32, when: u64) -> Report {
    let driver_detail = format!(
        "err_code:0x0101:0x0090 ProcessorSocketId:0x0 MemoryControllerId:0x0 PhysicalRankId:0x0 \
         Row:{row:#x} Column:0x100 Bank:0x3 BankGroup:0x1"
    );
    let event = McEvent { driver_detail, top_layer: 1, middle_layer: 0, ..edac(address) };
    mc_event(event, when)
}

/// The fault of a page with two errors at [`ADDR`].
fn fault(machine: &Machine) -> Fault {
    let reports = [error(ADDR, 9, 0), error(ADDR, 9, HOUR)];
    let findings = feed(&mut analyzer(), machine, &reports);
    findings.into_iter().find(|f| f.fault.rule.id == "page-ce").unwrap().fault
}

#[test]
fn the_same_place_in_the_same_module_is_the_same_page() {
    let host = host(Some("1"));
    let fault = fault(&host);
    assert!(is_where_it_was(&fault, &error(ADDR, 9, 9 * HOUR), &host));
    assert!(is_where_it_was(&fault, &error(ADDR + 0x3f, 9, 9 * HOUR), &host), "the same line");
}

#[test]
fn another_place_or_another_address_is_not() {
    let host = host(Some("1"));
    let fault = fault(&host);
    assert!(!is_where_it_was(&fault, &error(ADDR, 10, 9 * HOUR), &host));
    assert!(!is_where_it_was(&fault, &error(ADDR + 0x40, 9, 9 * HOUR), &host));
}

#[test]
fn another_module_or_one_without_a_serial_number_is_not() {
    let known = host(Some("1"));
    let report = error(ADDR, 9, 9 * HOUR);
    assert!(!is_where_it_was(&fault(&known), &report, &host(Some("2"))));
    assert!(!is_where_it_was(&fault(&known), &report, &host(None)));
    assert!(!is_where_it_was(&fault(&host(None)), &report, &host(None)));
}

#[test]
fn a_machine_check_names_no_place() {
    let host = host(Some("1"));
    assert!(!is_where_it_was(&fault(&host), &mce(dram(CE, ADDR), 9 * HOUR), &host));
    let reports = [mce(dram(CE, ADDR), 0), mce(dram(CE, ADDR), HOUR)];
    let unplaced = feed(&mut analyzer(), &host, &reports).remove(0).fault;
    let named = Fault { fru: Some(host.dimms[0].fru()), ..unplaced };
    assert!(!is_where_it_was(&named, &error(ADDR, 9, 9 * HOUR), &host));
}
