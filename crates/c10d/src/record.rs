//! What a rank writes into the store for the others: who it is, once, and signs of life.
//!
//! Lines of text. What is read may come from anything that reaches the store's port, so it is bounded, and what makes
//! no sense is as if nothing had come.

/// The longest message that one rank passes to the others, in bytes.
const LONGEST: usize = 2000;

/// A sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Another with each sign.
    pub(crate) tick: u64,
    /// How many collectives the rank has entered.
    pub(crate) entered: u64,
    /// Whether it has left in order.
    pub(crate) left: bool,
    /// What ended its part; empty while it looks for the reason.
    pub(crate) failed: Option<String>,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (left, failed) = (u8::from(self.left), u8::from(self.failed.is_some()));
        let text = bounded(self.failed.as_deref().unwrap_or_default());
        format!("{} {} {left} {failed}\n{text}", self.tick, self.entered).into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
        let text = readable(bytes)?;
        let (head, message) = text.split_once('\n')?;
        let mut numbers = head.split(' ').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let (tick, entered, left, failed) = (next()?, next()?, next()?, next()?);
        Some(Record {
            tick,
            entered,
            left: left == 1,
            failed: (failed == 1).then(|| bounded(message)),
        })
    }
}

/// Who a rank is, written once when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) world: usize,
    /// Of this program: ranks of two versions do not train together.
    pub(crate) version: String,
    /// From where it reaches the store.
    pub(crate) address: String,
}

impl Presence {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Presence {
            host,
            pid,
            world,
            version,
            address,
        } = self;
        format!("{host}\n{pid}\n{world}\n{version}\n{address}").into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Presence> {
        let text = readable(bytes)?;
        let mut lines = text.split('\n').map(bounded);
        Some(Presence {
            host: lines.next()?,
            pid: lines.next()?.parse().ok()?,
            world: lines.next()?.parse().ok()?,
            version: lines.next()?,
            address: lines.next()?,
        })
    }
}

fn readable(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.get(..bytes.len().min(4 * LONGEST))?).ok()
}

/// One line, printable, of bounded length.
fn bounded(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() + c.len_utf8() > LONGEST {
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_come_back_as_they_were_written() {
        for record in [
            Record::default(),
            Record {
                tick: 7,
                entered: u64::MAX,
                left: true,
                failed: Some(String::new()),
            },
            Record {
                tick: 1,
                entered: 2,
                left: false,
                failed: Some("rank 2 is lost".to_owned()),
            },
        ] {
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        let presence = Presence {
            host: "node1".to_owned(),
            pid: 12,
            world: 4,
            version: "0.1.0".to_owned(),
            address: "10.0.0.1".to_owned(),
        };
        assert_eq!(Presence::decode(&presence.encode()), Some(presence));
    }

    #[test]
    fn a_long_message_is_cut_and_an_escape_sequence_disarmed() {
        let failed = Some(format!("\u{1b}[2J{}", "ü".repeat(5000)));
        let read = Record::decode(
            &Record {
                failed,
                ..Record::default()
            }
            .encode(),
        )
        .unwrap();
        let text = read.failed.unwrap();
        assert!(text.len() <= LONGEST && text.starts_with(" [2J"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (Record::decode(&bytes), Presence::decode(&bytes));
        }
    }
}
