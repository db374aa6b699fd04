//! Finding files and spreading them.

use proptest::prelude::*;

use crate::listing::balance;

proptest! {
    #[test]
    fn every_file_is_in_one_chunk(sizes in prop::collection::vec(0..1_000_000_u64, 0..200), chunks in 1..50usize) {
        let result = balance(&sizes, chunks);
        prop_assert_eq!(result.len(), chunks.min(sizes.len()));
        prop_assert!(result.iter().all(|chunk| !chunk.is_empty() && chunk.is_sorted()));
        let mut all = result.concat();
        all.sort_unstable();
        prop_assert!(all.iter().copied().eq(0..sizes.len()));
        // Greedy: the fullest chunk exceeds another by no more than one file.
        let load = |chunk: &Vec<usize>| chunk.iter().map(|file| sizes[*file] + (16 << 10)).sum::<u64>();
        let loads: Vec<_> = result.iter().map(load).collect();
        let largest = sizes.iter().max().copied().unwrap_or_default() + (16 << 10);
        if let (Some(least), Some(most)) = (loads.iter().min(), loads.iter().max()) {
            prop_assert!(most - least <= largest);
        }
    }
}

#[test]
fn sixteen_files_in_sixteen_chunks_lose_none() {
    let chunks = balance(&[0; 16], 16);
    assert!(chunks.iter().all(|chunk| chunk.len() == 1));
    assert_eq!(balance(&[10; 33], 32).concat().len(), 33);
}
