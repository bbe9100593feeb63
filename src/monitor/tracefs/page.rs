//! One page of the kernel's trace ring buffer, as `trace_pipe_raw` hands it
//! out.
//!
//! The events within: kernel/trace/ring_buffer.c and
//! include/linux/ring_buffer.h (enum ring_buffer_type). Their headers are bit
//! fields of the host's order; this reads the little-endian one, which x86 and
//! ARM64 have.

use super::format::HeaderPage;

/// Bytes in use, out of the commit field. Above lie flags which say that events
/// were overwritten before this page; the buffer's statistics count those.
const COMMIT_MASK: u64 = (1 << 27) - 1;

/// `type_len` of events that carry no data (enum ring_buffer_type).
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;

/// Bits of a time stamp that fit into an event: 27 in its header, 32 after it.
const DELTA_BITS: u32 = 27;
/// The five top bits that an absolute time stamp leaves out (TS_MSB).
const TIME_MSB: u64 = 0xf8 << 56;

/// An event: when, and its record as the `format` file lays it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// On the instance's trace clock, ns.
    pub time: u64,
    /// The record, from `common_type` on.
    pub data: &'a [u8],
}

/// A page taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page<'a> {
    /// In the order in which they were written.
    pub events: Vec<Event<'a>>,
    /// Where the page stopped making sense, as a byte offset; what follows is
    /// not known.
    pub broken_at: Option<usize>,
}

/// Takes a page apart. Any bytes will do.
pub fn parse<'a>(bytes: &'a [u8], header: &HeaderPage) -> Page<'a> {
    let mut page = Page::default();
    let (Some(time), Some(commit)) = (header.timestamp.of(bytes), header.commit.of(bytes)) else {
        page.broken_at = Some(0);
        return page;
    };
    let end = header.data.saturating_add((commit & COMMIT_MASK) as usize);
    let Some(used) = bytes.get(..end) else {
        page.broken_at = Some(header.commit.offset);
        return page;
    };
    let mut walk = Walk { used, at: header.data, time };
    loop {
        let at = walk.at;
        match walk.next() {
            Step::Event(event) => page.events.push(event),
            Step::Time => {}
            Step::End => return page,
            Step::Broken => {
                page.broken_at = Some(at);
                return page;
            }
        }
    }
}

struct Walk<'a> {
    used: &'a [u8],
    at: usize,
    time: u64,
}

enum Step<'a> {
    Event(Event<'a>),
    Time,
    End,
    Broken,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Step<'a> {
        if self.at >= self.used.len() {
            return Step::End;
        }
        self.step().unwrap_or(Step::Broken)
    }

    /// `None` when the page ends within the event.
    fn step(&mut self) -> Option<Step<'a>> {
        let header = self.word(self.at)?;
        let (kind, delta) = (header & 0x1f, u64::from(header >> 5));
        let body = self.at + 4;
        match kind {
            // Nothing more was written to this page.
            PADDING if delta == 0 => Some(Step::End),
            // An event that was discarded; its length is where a long event has it.
            PADDING => {
                let length = self.word(body)? as usize;
                self.advance(body.checked_add(length)?, delta)?;
                Some(Step::Time)
            }
            TIME_EXTEND => {
                let high = u64::from(self.word(body)?) << DELTA_BITS;
                self.advance(body + 4, high + delta)?;
                Some(Step::Time)
            }
            TIME_STAMP => {
                let low = (u64::from(self.word(body)?) << DELTA_BITS) + delta;
                let absolute = low | (self.time & TIME_MSB);
                // The bits left out may have changed since the page began (rb_fix_abs_ts).
                let carried = absolute < self.time;
                self.advance(body + 4, 0)?;
                self.time = if carried { absolute.wrapping_add(1 << 59) } else { absolute };
                Some(Step::Time)
            }
            // Too long for the header: the length comes first, and counts itself.
            0 => {
                let length = self.word(body)? as usize;
                let data = self.used.get(body + 4..body.checked_add(length)?)?;
                self.advance(body + length, delta)?;
                Some(Step::Event(Event { time: self.time, data }))
            }
            words => {
                let data = self.used.get(body..body + words as usize * 4)?;
                self.advance(body + data.len(), delta)?;
                Some(Step::Event(Event { time: self.time, data }))
            }
        }
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.used.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn advance(&mut self, to: usize, delta: u64) -> Option<()> {
        if to > self.used.len() || to <= self.at {
            return None;
        }
        self.at = to;
        self.time = self.time.wrapping_add(delta);
        Some(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::monitor::tracefs::format::tests::HEADER_PAGE;
    use proptest::prelude::*;

    fn header() -> HeaderPage {
        HeaderPage::parse(HEADER_PAGE).unwrap()
    }

    fn page(time: u64, flags: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = time.to_le_bytes().to_vec();
        bytes.extend((data.len() as u64 | flags).to_le_bytes());
        bytes.extend(data);
        bytes.resize(4096.max(bytes.len()), 0);
        bytes
    }

    fn event(kind: u32, delta: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = (delta << 5 | kind).to_le_bytes().to_vec();
        bytes.extend(body);
        bytes
    }

    #[test]
    fn times_add_up_from_the_page_s_own() {
        let data = [event(1, 10, b"aaaa"), event(2, 5, b"bbbbcccc")].concat();
        let bytes = page(1000, 0, &data);
        let parsed = parse(&bytes, &header());
        assert_eq!(
            parsed.events,
            [Event { time: 1010, data: b"aaaa" }, Event { time: 1015, data: b"bbbbcccc" }]
        );
        assert_eq!(parsed.broken_at, None);
    }

    #[test]
    fn a_long_event_has_its_length_before_its_data() {
        let mut body = (4 + 120u32).to_le_bytes().to_vec();
        body.extend([7; 120]);
        let bytes = page(0, 0, &[event(0, 1, &body), event(1, 1, b"next")].concat());
        let parsed = parse(&bytes, &header());
        assert_eq!(parsed.events[0].data, [7; 120]);
        assert_eq!(parsed.events[1], Event { time: 2, data: b"next" });
    }

    #[test]
    fn a_discarded_event_is_stepped_over_but_takes_its_time() {
        let mut body = 8u32.to_le_bytes().to_vec();
        body.extend([9; 4]);
        let bytes = page(0, 0, &[event(PADDING, 3, &body), event(1, 1, b"kept")].concat());
        assert_eq!(parse(&bytes, &header()).events, [Event { time: 4, data: b"kept" }]);
    }

    #[test]
    fn padding_without_a_time_ends_the_page() {
        let bytes = page(0, 0, &[event(1, 1, b"kept"), event(PADDING, 0, &[0; 8])].concat());
        let parsed = parse(&bytes, &header());
        assert_eq!((parsed.events.len(), parsed.broken_at), (1, None));
    }

    #[test]
    fn a_time_extend_adds_what_does_not_fit_in_a_header() {
        let extend = event(TIME_EXTEND, 1, &3u32.to_le_bytes());
        let bytes = page(100, 0, &[extend, event(1, 2, b"late")].concat());
        assert_eq!(parse(&bytes, &header()).events[0].time, 100 + (3 << 27) + 1 + 2);
    }

    #[test]
    fn an_absolute_time_stamp_keeps_the_five_top_bits_of_the_page() {
        let stamp = event(TIME_STAMP, 5, &2u32.to_le_bytes());
        let bytes = page(1 << 60, 0, &[stamp, event(1, 1, b"now.")].concat());
        assert_eq!(parse(&bytes, &header()).events[0].time, (1 << 60) + (2 << 27) + 5 + 1);
        let wrapped =
            page((1 << 60) - 1, 0, &[event(TIME_STAMP, 5, &[0; 4]), event(1, 0, b"now.")].concat());
        assert_eq!(parse(&wrapped, &header()).events[0].time, (1 << 60) + 5);
    }

    #[test]
    fn a_page_after_lost_events_is_read_all_the_same() {
        let bytes = page(0, 3 << 30, &event(1, 1, b"late"));
        let parsed = parse(&bytes, &header());
        assert_eq!((parsed.events.len(), parsed.broken_at), (1, None));
    }

    #[test]
    fn an_event_beyond_the_end_breaks_the_page_at_its_place() {
        let bytes = page(0, 0, &[event(1, 1, b"kept"), event(20, 1, b"no")].concat());
        let parsed = parse(&bytes, &header());
        assert_eq!((parsed.events.len(), parsed.broken_at), (1, Some(16 + 8)));
    }

    #[test]
    fn a_short_read_is_broken_from_the_start() {
        assert_eq!(parse(&[0; 15], &header()).broken_at, Some(0));
        assert_eq!(parse(&page(0, 4081, &[])[..4096], &header()).broken_at, Some(8));
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), used in 0u64..600) {
            if let Some(commit) = bytes.get_mut(8..16) {
                commit.copy_from_slice(&used.to_le_bytes());
            }
            let parsed = parse(&bytes, &header());
            let data: usize = parsed.events.iter().map(|e| e.data.len() + 4).sum();
            prop_assert!(data <= bytes.len());
        }

        #[test]
        fn every_event_written_is_read(events in prop::collection::vec((1u32..=28, 0u32..1 << 27), 0..30)) {
            let mut data = Vec::new();
            for (i, (words, delta)) in events.iter().enumerate() {
                data.extend(event(*words, *delta, &vec![i as u8; *words as usize * 4]));
            }
            let bytes = page(7, 0, &data);
            let parsed = parse(&bytes, &header());
            prop_assert_eq!(parsed.broken_at, None);
            let mut time = 7;
            prop_assert_eq!(parsed.events.len(), events.len());
            for (i, (event, (words, delta))) in parsed.events.iter().zip(&events).enumerate() {
                time += u64::from(*delta);
                prop_assert_eq!(event, &Event { time, data: &vec![i as u8; *words as usize * 4] });
            }
        }
    }
}
