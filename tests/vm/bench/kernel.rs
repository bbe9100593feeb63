//! What the guest's kernel says of processes, groups and programs: files of lines with a name and a number.

use anyhow::{Context, Result};

/// The number after a name at the start of a line; what stands between them and after them does not matter:
/// `usage_usec 12`, `Rss:   4096 kB`, `write_bytes: 0`.
pub fn number(text: &str, name: &str) -> Result<u64> {
    let word = text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.trim_start_matches(':');
        rest.starts_with(char::is_whitespace).then(|| rest.split_whitespace().next())?
    });
    let word = word.with_context(|| format!("no {name} in {text:?}"))?;
    word.parse().with_context(|| format!("{name} is {word:?}"))
}

/// The sum of such a number over all lines that have it.
pub fn sum(text: &str, name: &str) -> Result<u64> {
    text.lines().filter(|line| line.starts_with(name)).map(|line| number(line, name)).sum()
}

/// Bytes that were written to a disk, out of its `stat` (Documentation/block/stat.rst): the seventh number, in sectors
/// of 512 bytes.
pub fn disk_bytes(stat: &str) -> Result<u64> {
    let sectors: u64 =
        stat.split_whitespace().nth(6).with_context(|| format!("{stat:?}"))?.parse()?;
    Ok(sectors * 512)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_one_of_its_whole_name() {
        let stat = "usage_usec 17\nuser_usec 12\nsystem_usec 5\n";
        assert_eq!(number(stat, "usage_usec").unwrap(), 17);
        assert!(number(stat, "usage").is_err());
        let rollup =
            "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss:       5124 kB\nPss:  9 kB\n";
        assert_eq!(number(rollup, "Rss").unwrap(), 5124);
        assert!(number(rollup, "Swap").is_err());
    }

    #[test]
    fn a_sum_is_that_of_all_threads() {
        let status = "Name:\ta\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t9\n\
                      Name:\tb\nvoluntary_ctxt_switches:\t4\n";
        assert_eq!(sum(status, "voluntary_ctxt_switches").unwrap(), 7);
        assert_eq!(sum(status, "Threads").unwrap(), 0);
    }

    #[test]
    fn a_disks_bytes_are_its_written_sectors() {
        let stat = "  12 0 96 4  30 2 2048 9 0 8 13 0 0 0 0 1 2\n";
        assert_eq!(disk_bytes(stat).unwrap(), 2048 * 512);
        assert!(disk_bytes("").is_err());
    }
}
