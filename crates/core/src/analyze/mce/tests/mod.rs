//! Status words with known decodings, from manuals and public logs, and what
//! holds for any word at all.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod any_record;

use super::*;

/// A line of the tables beside this file:
///
/// `STATUS key=value… | code | bank | severity | page | description | source`
///
/// The keys are those of [`MceRecord`], all in hexadecimal but `bank`. Code,
/// bank and severity are as Rust shows them; the page is a frame or `-`. A
/// record that [`decode`] refuses has `unusable`, `-`, `-`, `-`.
struct Line<'a> {
    number: usize,
    record: MceRecord,
    expected: [&'a str; 5],
    source: &'a str,
}

fn lines(table: &str, cpuvendor: u8) -> Vec<Line<'_>> {
    table
        .lines()
        .enumerate()
        .filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'))
        .map(|(index, text)| {
            let number = index + 1;
            let columns: Vec<&str> = text.split('|').map(str::trim).collect();
            let [words, code, bank, severity, page, description, source] = columns[..] else {
                panic!("line {number} has {} columns", columns.len());
            };
            let record = record(words, cpuvendor, number);
            Line { number, record, expected: [code, bank, severity, page, description], source }
        })
        .collect()
}

fn record(words: &str, cpuvendor: u8, line: usize) -> MceRecord {
    let mut words = words.split_whitespace();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("line {line}"));
    let mut record =
        MceRecord { status: hex(words.next().unwrap()), cpuvendor, ..MceRecord::default() };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("line {line}: {word}"));
        match key {
            "bank" => record.bank = value.parse().unwrap(),
            "addr" => record.addr = hex(value),
            "misc" => record.misc = hex(value),
            "mcgcap" => record.mcgcap = hex(value),
            "ipid" => record.ipid = hex(value),
            "cpuid" => record.cpuid = hex(value) as u32,
            _ => panic!("line {line}: unknown key {key}"),
        }
    }
    record
}

/// The machine that wrote the record.
fn machine_of(record: &MceRecord) -> Machine {
    let (family, model) = status::family_model(record.cpuid);
    Machine {
        vendor: vendor(record.cpuvendor),
        family,
        model,
        memory_bytes: 1 << 40,
        phys_bits: 46,
        ..Machine::default()
    }
}

fn check(table: &str, cpuvendor: u8) {
    let mut wrong = Vec::new();
    for Line { number, record, expected, source } in lines(table, cpuvendor) {
        let description = describe(&record);
        let [code, bank, severity, page] = match decode(&record, &machine_of(&record)) {
            Ok(check) => [
                format!("{:?}", check.code),
                format!("{:?}", check.bank),
                format!("{:?}", check.severity),
                check.page.map_or("-".to_owned(), |pfn| format!("{:x}", pfn.0)),
            ],
            Err(_) => ["unusable", "-", "-", "-"].map(str::to_owned),
        };
        let found = [&code, &bank, &severity, &page, &description].map(String::as_str);
        if found != expected {
            wrong.push(format!("line {number} ({source}):\n {expected:?}\n {found:?}"));
        }
        assert!(!source.is_empty(), "line {number} names no source");
    }
    assert!(wrong.is_empty(), "{} lines:\n{}", wrong.len(), wrong.join("\n"));
}

const INTEL: [&str; 3] = [
    include_str!("intel-architecture.txt"),
    include_str!("intel-models.txt"),
    include_str!("intel-logs.txt"),
];
const AMD: [&str; 2] = [include_str!("amd-manuals.txt"), include_str!("amd-logs.txt")];

#[test]
fn intels_architectural_codes_decode_as_the_manual_says() {
    check(INTEL[0], 0);
}

#[test]
fn intels_model_specific_codes_decode_as_the_manual_says() {
    check(INTEL[1], 0);
}

#[test]
fn records_of_intel_machines_in_public_logs_decode_as_they_were_understood() {
    check(INTEL[2], 0);
}

#[test]
fn amds_codes_decode_as_the_manuals_say() {
    check(AMD[0], 2);
}

#[test]
fn records_of_amd_machines_in_public_logs_decode_as_they_were_understood() {
    check(AMD[1], 2);
}

#[test]
fn the_tables_hold_over_200_different_words() {
    let intel = INTEL.iter().flat_map(|table| lines(table, 0));
    let amd = AMD.iter().flat_map(|table| lines(table, 2));
    let words: std::collections::HashSet<MceRecord> =
        intel.chain(amd).map(|line| line.record).collect();
    assert!(words.len() >= 200, "{}", words.len());
}

#[test]
fn a_count_is_intels_and_of_corrected_errors_only() {
    let record = |text| record(text, 0, 0);
    let count = |record: MceRecord| decode(&record, &machine_of(&record)).unwrap().count;
    let three = record("9000 00c0 0000 0135".replace(' ', "").as_str());
    assert_eq!(count(three.clone()), Some(3));
    assert_eq!(count(MceRecord { status: three.status | status::UC, ..three.clone() }), None);
    assert_eq!(count(MceRecord { mcgcap: 0x806, ..three.clone() }), None, "no CMCI_P");
    assert_eq!(count(MceRecord { cpuvendor: 2, ..three }), None);
}
