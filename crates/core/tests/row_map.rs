//! What the row map makes of real DIMMs, where there are any: CSV files in the
//! folder that `BULKHEAD_TRACES` names, else in `shared/traces` beside the
//! repository.
#![allow(clippy::unwrap_used)]

use bulkhead_core::analyze::dram::map::RowMap;
use bulkhead_core::model::{CoverBy, DramPlace, PageSize, PhysAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Cells = BTreeSet<(DramPlace, PhysAddr)>;

/// The distinct places and addresses of each DIMM of a file; `None` where a
/// column is missing.
fn dimms(file: &Path) -> Option<Vec<Cells>> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split(',').collect();
    let of = |name: &str| names.iter().position(|n| *n == name);
    let columns =
        ["addr", "socket", "channel", "dimm", "rank", "bank_group", "bank", "row", "column"];
    let columns = columns.into_iter().map(of).collect::<Option<Vec<_>>>()?;
    let mut dimms = BTreeMap::<_, Cells>::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |n: usize| fields[columns[n]];
        let number = |n: usize| field(n).parse::<u32>().unwrap();
        let addr = u64::from_str_radix(field(0).trim_start_matches("0x"), 16).unwrap();
        let place = DramPlace {
            rank: Some(number(4) as u16),
            bank_group: Some(number(5) as u16),
            bank: Some(number(6) as u16),
            row: Some(number(7)),
            column: Some(number(8)),
            ..DramPlace::default()
        };
        let dimm = (number(1), number(2), number(3));
        dimms.entry(dimm).or_default().insert((place, PhysAddr(addr)));
    }
    Some(dimms.into_values().collect())
}

fn traces() -> Option<Vec<PathBuf>> {
    let folder = std::env::var_os("BULKHEAD_TRACES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces"),
        PathBuf::from,
    );
    let files = std::fs::read_dir(&folder).ok()?;
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "csv"));
    files.sort();
    (!files.is_empty()).then_some(files)
}

/// Line bits that the places show of which nothing contradictory is said.
fn bits(cells: &[&(DramPlace, PhysAddr)]) -> u32 {
    let twice = |(place, addr): &(DramPlace, PhysAddr)| {
        cells.iter().filter(|(p, a)| p == place || a == addr).count() > 1
    };
    let sure = cells.iter().filter(|cell| !twice(cell));
    sure.fold(0, |bits, (place, _)| bits | (place.column.unwrap() / 8))
}

#[test]
fn an_error_left_out_lies_in_the_row_that_the_others_predict() {
    let Some(files) = traces() else {
        eprintln!("skipped: no real logs here; name their folder in BULKHEAD_TRACES");
        return;
    };
    for file in files {
        let (mut exact, mut learned, mut partly, mut unknown) = (0, 0, 0, 0);
        for cells in dimms(&file).unwrap() {
            for (left_out, addr) in &cells {
                let others = || cells.iter().filter(|(place, _)| place != left_out);
                let mut map = RowMap::default();
                others().for_each(|(place, addr)| map.learn(place, *addr));
                let in_row = |place: &DramPlace| {
                    DramPlace { column: left_out.column, ..*place } == *left_out
                };
                let seen: Vec<_> =
                    others().filter(|(place, _)| in_row(place)).map(|(_, addr)| *addr).collect();
                let known = map.row_pages(left_out, &seen, PageSize::KIB_4, 46);
                let page = PageSize::KIB_4.pfn(*addr);
                match known {
                    None => unknown += 1,
                    Some((CoverBy::Exact, pages)) if pages.contains(&page) => exact += 1,
                    Some((CoverBy::Learned, pages)) if pages.contains(&page) => learned += 1,
                    // Only a column bit that no other error has shown excuses.
                    Some((by, _)) => {
                        let shown = bits(&others().collect::<Vec<_>>());
                        let new = (left_out.column.unwrap() / 8) & !shown;
                        assert!(by == CoverBy::Learned && new != 0, "{left_out:?} {addr}");
                        partly += 1;
                    }
                }
            }
        }
        let name = file.file_stem().unwrap().to_string_lossy();
        println!(
            "{name}: {exact} in an exact row, {learned} in a learned one, \
             {partly} beyond what was learned, {unknown} without answer"
        );
    }
}
