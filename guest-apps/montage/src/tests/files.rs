//! FITS files, statistics and pictures.

use proptest::prelude::*;

use crate::fits::{Header, Image, Writer};
use crate::preview::Preview;
use crate::statistics::{self, Moments};

/// A file of the given cards and data.
fn file(cards: &[&str], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for card in cards.iter().chain(&["END"]) {
        bytes.extend_from_slice(format!("{card:<80}").as_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    bytes
}

fn image(bitpix: i64, more: &[&str], data: &[u8]) -> Vec<u8> {
    let bitpix = format!("BITPIX  = {bitpix}");
    let mut cards = vec![
        "SIMPLE  = T",
        &bitpix,
        "NAXIS   = 2",
        "NAXIS1  = 2",
        "NAXIS2  = 1",
    ];
    cards.extend_from_slice(more);
    file(&cards, data)
}

fn pixels(file: &[u8]) -> Vec<f64> {
    Image::open(file).unwrap().pixels().unwrap()
}

fn error(file: &[u8]) -> (String, String) {
    let error = match Image::open(file) {
        Ok(image) => image.pixels().unwrap_err(),
        Err(error) => error,
    };
    (error.kind().to_owned(), error.to_string())
}

#[test]
fn every_type_of_pixel_is_read() {
    assert_eq!(pixels(&image(8, &[], &[0, 255])), [0.0, 255.0]);
    assert_eq!(pixels(&image(16, &[], &[0xff, 0xff, 1, 0])), [-1.0, 256.0]);
    assert_eq!(
        pixels(&image(32, &[], &[0, 0, 0, 7, 0x80, 0, 0, 0])),
        [7.0, -2_147_483_648.0]
    );
    let long: Vec<u8> = [3_i64, -4]
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    assert_eq!(pixels(&image(64, &[], &long)), [3.0, -4.0]);
    let short: Vec<u8> = [0.5_f32, -2.0]
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    assert_eq!(pixels(&image(-32, &[], &short)), [0.5, -2.0]);
    let double: Vec<u8> = [1e300_f64, 0.1]
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    assert_eq!(pixels(&image(-64, &[], &double)), [1e300, 0.1]);
}

#[test]
fn scaled_and_blank_pixels() {
    let cards = ["BSCALE  = 2.0", "BZERO   = 1.0D1 / ten", "BLANK   = -1"];
    let read = pixels(&image(16, &cards, &[0xff, 0xff, 0, 3]));
    assert!(read[0].is_nan());
    assert_eq!(read[1].to_bits(), 16.0_f64.to_bits());
}

#[test]
fn texts_lose_their_quotes_and_comments() {
    let cards = [
        "SIMPLE  =                    T / yes",
        "ORIGIN  = 'it''s / a text  ' / and a comment",
        "EMPTY   = ''",
        "COMMENT = not a value",
        "ANGLE   =  1.5 / degrees",
    ];
    let header = Header::read(&file(&cards, &[])[..]).unwrap();
    assert_eq!(header.text("ORIGIN").unwrap(), "it's / a text");
    assert_eq!(header.text("EMPTY").unwrap(), "");
    assert_eq!(header.number("ANGLE").unwrap().to_bits(), 1.5_f64.to_bits());
    assert_eq!(header.optional_number("NOTHING").unwrap(), None);
    let error = header.number("ORIGIN").unwrap_err().to_string();
    assert_eq!(error, "ORIGIN = 'it''s / a text  ': expected a number");
    assert_eq!(
        header.text("ANGLE").unwrap_err().to_string(),
        "ANGLE = 1.5: expected text in quotes"
    );
    assert_eq!(
        header.number("X").unwrap_err().to_string(),
        "no X in its header"
    );
}

#[test]
fn files_that_end_too_early_are_told_from_wrong_ones() {
    let whole = image(-64, &[], &[0; 16]);
    let truncated = |text: &str| ("TruncatedFits".to_owned(), text.to_owned());
    assert_eq!(
        error(&whole[..2000]),
        truncated("it ends within its header")
    );
    assert_eq!(
        error(&whole[..2880 + 15]),
        truncated("2895 bytes, but 2 x 1 pixels need 2896")
    );
    assert_eq!(
        pixels(&whole[..2880 + 16]),
        [0.0, 0.0],
        "the last block need not be full"
    );
}

#[test]
fn wrong_files_are_refused() {
    let bad = |text: &str| ("BadFits".to_owned(), text.to_owned());
    assert_eq!(error(b"hello"), bad("it does not begin with `SIMPLE  =`"));
    assert_eq!(error(b""), bad("it does not begin with `SIMPLE  =`"));
    let endless = [&b"SIMPLE  = T"[..], &vec![b' '; 2880 * 1001]].concat();
    assert_eq!(error(&endless), bad("a header without END"));
    let mut binary = image(8, &[], &[]);
    binary[85] = 0;
    assert_eq!(error(&binary), bad("card 2 of its header is not text"));
    let expected = "NAXIS = 0: expected 2 or more: an image in the first part of the file";
    let empty = file(&["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0"], &[]);
    assert_eq!(error(&empty), bad(expected));
    let typed = image(7, &[], &[]);
    assert_eq!(
        error(&typed),
        bad("BITPIX = 7: expected 8, 16, 32, 64, -32 or -64")
    );
    let cards = [
        "SIMPLE  = T",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 2",
        "NAXIS2  = -3",
    ];
    assert_eq!(
        error(&file(&cards, &[])),
        bad("NAXIS2 = -3: expected at least 1")
    );
    let cards = [
        "SIMPLE  = F",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 2",
        "NAXIS2  = 3",
    ];
    assert_eq!(error(&file(&cards, &[])), bad("SIMPLE = F: expected T"));
    let huge = "NAXIS1  = 9223372036854775807";
    let cards = [
        "SIMPLE  = T",
        "BITPIX  = -64",
        "NAXIS   = 2",
        huge,
        "NAXIS2  = 3",
    ];
    assert_eq!(
        error(&file(&cards, &[])),
        bad("more pixels than can be counted")
    );
}

#[test]
fn statistics_of_a_known_image() {
    let values = [1.0_f64, f64::NAN, 2.0, 4.0, f64::INFINITY, 5.0];
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    let cards = [
        "SIMPLE  = T",
        "BITPIX  = -64",
        "NAXIS   = 2",
        "NAXIS1  = 3",
        "NAXIS2  = 2",
    ];
    let file = file(&cards, &data);
    let image = Image::open(&file[..]).unwrap();
    let mut seen = Vec::new();
    let found = statistics::of_image(&image, |number, row| seen.push((number, row.len()))).unwrap();
    assert_eq!(seen, [(0, 3), (1, 3)]);
    assert_eq!(
        (found.width, found.height, found.finite, found.blank),
        (3, 2, 4, 2)
    );
    assert_eq!(
        (found.min, found.max, found.mean),
        (Some(1.0), Some(5.0), Some(3.0))
    );
    assert_eq!(found.std, Some(libm::sqrt(2.5)));
}

#[test]
fn an_image_without_values_has_no_mean() {
    let mut moments = Moments::default();
    moments.add_row(&[f64::NAN]);
    let found = moments.statistics(1, 1);
    assert_eq!(
        (found.mean, found.std, found.min, found.blank),
        (None, None, None, 1)
    );
}

/// Width, height, and grey and opacity of each pixel, from the top left.
fn decode(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width, info.height, pixels)
}

#[test]
fn a_picture_stands_upright_and_is_transparent_where_nothing_is() {
    let mut preview = Preview::new(2, 2, 100).unwrap();
    preview.add_row(0, &[0.0, f64::NAN]);
    preview.add_row(1, &[1.0, 9.0]);
    let (width, height, pixels) = decode(&preview.png().unwrap());
    assert_eq!((width, height), (2, 2));
    assert_eq!(pixels[0..8], [255, 255, 255, 255, 0, 255, 0, 0]);
}

#[test]
fn a_large_image_is_shrunk_by_a_whole_number() {
    let mut preview = Preview::new(7, 3, 4).unwrap();
    for row in 0..3 {
        preview.add_row(row, &[0.0, 2.0, 4.0, 4.0, 4.0, 4.0, 100.0]);
    }
    let (width, height, pixels) = decode(&preview.png().unwrap());
    assert_eq!((width, height), (4, 2));
    let greys: Vec<u8> = pixels.iter().step_by(2).copied().collect();
    assert_eq!(greys[0], 0, "the mean of 0 and 2 is the least");
    assert!(greys[1] > 0 && greys[1] == greys[2], "{greys:?}");
    assert_eq!(greys[3], 255);
}

#[test]
fn pictures_of_nothing_and_of_one_value() {
    let (_, _, nothing) = decode(&Preview::new(3, 1, 1).unwrap().png().unwrap());
    assert_eq!(nothing, [0, 0]);
    let mut flat = Preview::new(2, 1, 2).unwrap();
    flat.add_row(0, &[5.0, 5.0]);
    assert_eq!(decode(&flat.png().unwrap()).2, [0, 255, 0, 255]);
}

proptest! {
    #[test]
    fn images_read_back(width in 1_usize..90, height in 1_usize..40, seed: u32) {
        let value = |pixel: usize| (pixel as u32).wrapping_mul(seed) as f32 / 7.0;
        let file = Writer::new(width, height)
            .number("CRVAL1", -1.25e-7)
            .text("CTYPE1", "RA---TAN")
            .finish((0..width * height).map(value));
        prop_assert_eq!(file.len() % 2880, 0);
        let image = Image::open(&file[..]).unwrap();
        prop_assert_eq!(image.header.number("CRVAL1").unwrap().to_bits(), (-1.25e-7_f64).to_bits());
        prop_assert_eq!(image.header.text("CTYPE1").unwrap(), "RA---TAN");
        let expected: Vec<f64> = (0..width * height).map(|pixel| f64::from(value(pixel))).collect();
        prop_assert_eq!(image.pixels().unwrap(), expected);
    }

    #[test]
    fn no_bytes_break_the_reader(
        mut file in Just(image(16, &["BZERO   = 1.0"], &[1, 2, 3, 4])),
        changes in prop::collection::vec((0_usize..3000, any::<u8>()), 0..8),
        length in 0_usize..5760,
    ) {
        for (place, byte) in changes {
            file[place] = byte;
        }
        file.truncate(length);
        if let Ok(image) = Image::open(&file[..]) {
            let _ = image.pixels();
        }
    }

    #[test]
    fn moments_are_those_of_all_values(
        rows in prop::collection::vec(prop::collection::vec(-1e3_f64..1e6, 0..20), 1..20),
    ) {
        let mut moments = Moments::default();
        for row in &rows {
            moments.add_row(row);
        }
        let all: Vec<f64> = rows.concat();
        let found = moments.statistics(0, 0);
        prop_assert_eq!(found.finite, all.len() as u64);
        if !all.is_empty() {
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / all.len() as f64;
            prop_assert!((found.mean.unwrap() - mean).abs() <= 1e-12 * mean.abs().max(1e3));
            prop_assert!((found.std.unwrap() - variance.sqrt()).abs() <= 1e-9 * variance.sqrt().max(1e3));
        }
    }
}
