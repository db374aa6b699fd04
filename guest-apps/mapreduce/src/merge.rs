//! Merging any number of sorted tables by a tournament, in one pass and bounded memory.

use taps::{Payload, Result};

use crate::counts::{Counts, CountsReader, CountsWriter, Origin};

/// Bytes of all buffers together.
const BUFFERS_BYTES: usize = 32 << 20;
/// Least and most bytes of a buffer.
const BUFFER_BYTES: std::ops::RangeInclusive<usize> = (4 << 10)..=(256 << 10);

/// No reader: a match not played yet.
const NOBODY: usize = usize::MAX;

/// The readers and who comes first.
///
/// A loser tree (Knuth, The Art of Computer Programming 3, 5.4.1): inner node `n` keeps the loser
/// of its match, the winner went on to node `n / 2`. The next word costs one match per level.
struct Tournament {
    readers: Vec<CountsReader>,
    /// Rank of each reader's word; none at the end of its table.
    ranks: Vec<Option<u64>>,
    losers: Vec<usize>,
    winner: usize,
}

impl Tournament {
    fn new(readers: Vec<CountsReader>) -> Result<Self> {
        let count = readers.len();
        let mut tournament = Self {
            readers,
            ranks: vec![None; count],
            losers: vec![NOBODY; count],
            winner: NOBODY,
        };
        for reader in 0..count {
            tournament.advance(reader)?;
        }
        Ok(tournament)
    }

    /// Whether the word of reader `a` comes before that of `b`.
    #[inline]
    fn precedes(&self, a: usize, b: usize) -> bool {
        match (self.ranks[a], self.ranks[b]) {
            (Some(rank_a), Some(rank_b)) if rank_a != rank_b => rank_a < rank_b,
            (Some(_), Some(_)) => {
                let (word_a, word_b) = (self.readers[a].word(), self.readers[b].word());
                word_a.compare_rest(word_b).then(a.cmp(&b)).is_lt()
            }
            (first, _) => first.is_some(),
        }
    }

    /// Moves a reader on and plays its matches again, up to the root.
    #[inline]
    fn advance(&mut self, reader: usize) -> Result<()> {
        let more = self.readers[reader].advance()?;
        self.ranks[reader] = more.then(|| self.readers[reader].word().rank());
        let mut contender = reader;
        let mut node = usize::midpoint(reader, self.readers.len());
        while node > 0 {
            let opponent = self.losers[node];
            if opponent == NOBODY {
                self.losers[node] = contender;
                return Ok(());
            }
            if self.precedes(opponent, contender) {
                self.losers[node] = contender;
                contender = opponent;
            }
            node /= 2;
        }
        self.winner = contender;
        Ok(())
    }

    /// The reader whose word comes next.
    fn first(&self) -> Option<&CountsReader> {
        self.ranks.get(self.winner)?.as_ref()?;
        self.readers.get(self.winner)
    }
}

/// Merges tables: counts of equal words are added up.
pub(crate) fn merge(tables: impl ExactSizeIterator<Item = Payload>) -> Result<Counts> {
    let share = BUFFERS_BYTES / tables.len().max(1);
    let buffer = share.clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end());
    let readers = tables
        .map(|table| CountsReader::open(table, buffer))
        .collect::<Result<Vec<_>>>()?;
    let mut origin = Origin::default();
    for reader in &readers {
        let part = reader.header().origin;
        origin.files = origin.files.saturating_add(part.files);
        origin.bytes = origin.bytes.saturating_add(part.bytes);
        origin.total = origin.total.saturating_add(part.total);
    }
    let mut tournament = Tournament::new(readers)?;
    let mut writer = CountsWriter::new();
    let mut current: Option<(std::ops::Range<usize>, u64)> = None;
    while let Some(reader) = tournament.first() {
        let (word, count) = (reader.word(), reader.count());
        match &mut current {
            Some((place, sum)) if writer.placed(place).equals(word) => {
                *sum = sum.saturating_add(count);
            }
            _ => {
                if let Some((_, sum)) = current {
                    writer.count(sum);
                }
                current = Some((writer.word(word), count));
            }
        }
        tournament.advance(tournament.winner)?;
    }
    if let Some((_, sum)) = current {
        writer.count(sum);
    }
    Ok(writer.finish(origin))
}
