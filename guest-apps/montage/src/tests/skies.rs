//! Projections, footprints, and the generated sky.

use proptest::prelude::*;

use crate::fits::{Header, Image, Writer};
use crate::footprint::Footprint;
use crate::plane::{Plane, PlaneFit};
use crate::synthetic::Survey;
use crate::truth;
use crate::wcs::{Place, Sky, Tangent};

fn near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

#[test]
fn a_projection_agrees_with_a_known_one() {
    // Offsets from the pole are polar coordinates: one degree down along the meridian of the
    // reference lies tan(1°) below it.
    let pole = Tangent {
        reference: Sky {
            right_ascension: 0.0,
            declination: 90.0,
        },
        pixel: Place { x: 10.0, y: 20.0 },
        step_x: -0.1,
        step_y: 0.1,
        rotation: 0.0,
    };
    let down = pole
        .to_pixel(Sky {
            right_ascension: 0.0,
            declination: 89.0,
        })
        .unwrap();
    let distance = 1.0_f64.to_radians().tan().to_degrees() / 0.1;
    assert!(
        near(down.x, 10.0, 1e-9) && near(down.y, 20.0 - distance, 1e-9),
        "{down:?}"
    );
    let side = pole
        .to_pixel(Sky {
            right_ascension: 90.0,
            declination: 89.0,
        })
        .unwrap();
    assert!(
        near(side.x, 10.0 - distance, 1e-9) && near(side.y, 20.0, 1e-9),
        "{side:?}"
    );
    let behind = Sky {
        right_ascension: 0.0,
        declination: -45.0,
    };
    assert_eq!(pole.to_pixel(behind), None);
}

#[test]
fn a_header_keeps_its_projection() {
    let projection = Tangent {
        reference: Sky {
            right_ascension: 83.8,
            declination: -5.36,
        },
        pixel: Place { x: 32.5, y: 31.0 },
        step_x: -2.0 / 3600.0,
        step_y: 2.0 / 3600.0,
        rotation: 1e-7,
    };
    let file = projection.write(Writer::new(1, 1)).finish([0.0]);
    assert_eq!(
        Tangent::of(&Header::read(&file[..]).unwrap()).unwrap(),
        projection
    );
    let other = Writer::new(1, 1).text("CTYPE1", "RA---SIN").finish([0.0]);
    let error = Tangent::of(&Header::read(&other[..]).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "CTYPE1 = RA---SIN: expected RA---TAN");
}

#[test]
fn footprints_overlap_where_they_share_pixels() {
    let footprint = |x: f64, y: f64, width: usize, height: usize| {
        let file = Writer::new(width, height)
            .number("CRPIX1", x)
            .number("CRPIX2", y);
        let file = file.finish(std::iter::repeat_n(0.0, width * height));
        Footprint::of(&Header::read(&file[..]).unwrap()).unwrap()
    };
    let one = footprint(0.0, 0.0, 4, 4);
    for (other, expected) in [
        (footprint(-3.0, 0.0, 4, 4), true),
        (footprint(-4.0, 0.0, 4, 4), false),
        (footprint(4.0, 0.0, 4, 4), false),
        (footprint(3.0, -3.0, 4, 4), true),
        (footprint(0.0, 4.0, 4, 4), false),
        (footprint(-1.0, -1.0, 1, 1), true),
    ] {
        assert_eq!(one.overlaps(&other), expected, "{other:?}");
        assert_eq!(other.overlaps(&one), expected, "{other:?}");
    }
}

#[test]
fn points_on_a_line_have_no_plane() {
    let mut fit = PlaneFit::default();
    assert_eq!(fit.plane(), None);
    for x in -5..5 {
        fit.add(f64::from(x), 2.0 * f64::from(x), 1.0);
    }
    assert_eq!(fit.plane(), None);
}

fn survey(seed: u64) -> Survey {
    Survey {
        seed,
        images: 4,
        side: 48,
    }
}

#[test]
fn a_survey_is_the_same_for_the_same_seed() {
    assert_eq!(survey(1).exposure(2), survey(1).exposure(2));
    assert_ne!(survey(1).exposure(2), survey(2).exposure(2));
    assert_ne!(survey(1).exposure(2), survey(1).exposure(3));
    assert_eq!(survey(1).stars(), survey(1).stars());
}

#[test]
fn an_exposure_has_its_background_and_its_stars() {
    let survey = survey(5);
    let file = survey.exposure(0);
    let image = Image::open(&file[..]).unwrap();
    let projection = Tangent::of(&image.header).unwrap();
    assert_eq!(projection, survey.projection(0));
    let pixels = image.pixels().unwrap();
    assert!(
        pixels[..48].iter().all(|pixel| pixel.is_nan()),
        "see `Survey::exposure`"
    );
    let background = survey.background(0);
    let mut rest = 0.0;
    for (number, pixel) in pixels.iter().enumerate().skip(48) {
        let (x, y) = ((number % 48 + 1) as f64, (number / 48 + 1) as f64);
        rest += pixel - background.at(x - projection.pixel.x, y - projection.pixel.y);
    }
    let inside = |place: Place| (9.0..40.0).contains(&place.x) && (9.0..40.0).contains(&place.y);
    let outside = |place: Place| {
        let far = |value: f64| !(-9.0..58.0).contains(&value);
        far(place.x) || far(place.y)
    };
    let stars = survey.stars();
    assert!(stars.len() >= 4, "{stars:?}");
    let place = |star: &crate::synthetic::Star| projection.to_pixel(star.sky).unwrap();
    let whole: f64 = stars
        .iter()
        .filter(|star| inside(place(star)))
        .map(|s| s.brightness)
        .sum();
    let most: f64 = stars
        .iter()
        .filter(|star| !outside(place(star)))
        .map(|s| s.brightness)
        .sum();
    assert!(whole > 0.0, "choose a seed with a star inside");
    assert!(
        rest > 0.99 * whole && rest < 1.01 * most + 100.0,
        "{whole} {rest} {most}"
    );
}

#[test]
fn neighbouring_backgrounds_differ() {
    let survey = survey(3);
    let apart = (survey.background(0).c - survey.background(1).c).abs();
    assert!(apart > 4.0 * truth::LARGEST_SPREAD, "{apart}");
}

#[test]
fn a_perfect_mosaic_is_true_and_a_stepped_one_is_not() {
    // One exposure is a mosaic of itself; half of it raised is one whose parts do not fit.
    let survey = Survey {
        seed: 11,
        images: 1,
        side: 96,
    };
    let file = survey.exposure(0);
    let found = truth::compare(&file[..], survey).unwrap();
    assert!(
        found.background_spread.unwrap() < truth::LARGEST_SPREAD,
        "{found:?}"
    );
    assert!(
        found.stars > 0 && found.brightness_error < truth::LARGEST_ERROR,
        "{found:?}"
    );

    let image = Image::open(&file[..]).unwrap();
    let step = |(number, pixel): (usize, f64)| (pixel + 6.0 * f64::from(number % 96 > 47)) as f32;
    let raised = image.pixels().unwrap().into_iter().enumerate().map(step);
    let stepped = survey
        .projection(0)
        .write(Writer::new(96, 96))
        .finish(raised);
    let found = truth::compare(&stepped[..], survey).unwrap();
    assert!(
        found.background_spread.unwrap() > truth::LARGEST_SPREAD,
        "{found:?}"
    );

    let dimmed = image
        .pixels()
        .unwrap()
        .into_iter()
        .map(|pixel| (0.9 * pixel) as f32);
    let dimmed = survey
        .projection(0)
        .write(Writer::new(96, 96))
        .finish(dimmed);
    let found = truth::compare(&dimmed[..], survey).unwrap();
    assert!(found.brightness_error > truth::LARGEST_ERROR, "{found:?}");
}

proptest! {
    #[test]
    fn there_and_back(
        right_ascension in -10.0_f64..370.0,
        declination in -89.0_f64..89.0,
        rotation in -180.0_f64..180.0,
        x in -900.0_f64..900.0,
        y in -900.0_f64..900.0,
    ) {
        let projection = Tangent {
            reference: Sky { right_ascension, declination },
            pixel: Place { x: 12.5, y: -3.0 },
            step_x: -1.0 / 900.0,
            step_y: 1.0 / 900.0,
            rotation,
        };
        let back = projection.to_pixel(projection.to_sky(Place { x, y })).unwrap();
        prop_assert!(near(back.x, x, 1e-6) && near(back.y, y, 1e-6), "{:?}", back);
    }

    #[test]
    fn planes_are_found(a in -1.0_f64..1.0, b in -1.0_f64..1.0, c in -1e3_f64..1e3) {
        let plane = Plane { a, b, c };
        let mut fit = PlaneFit::default();
        for point in 0..200 {
            let (x, y) = (f64::from(point % 20) - 10.0, f64::from(point / 20) - 5.0);
            fit.add(x, y, plane.at(x, y));
        }
        let found = fit.plane().unwrap();
        prop_assert!(near(found.a, a, 1e-9) && near(found.b, b, 1e-9) && near(found.c, c, 1e-8));
    }

    #[test]
    fn stars_can_be_measured(seed: u64, images in 1_u32..40, side in 32_u32..100) {
        let survey = Survey { seed, images, side };
        let stars = survey.stars();
        prop_assert!(!stars.is_empty());
        prop_assert!(stars.iter().all(|star| star.brightness > 0.0));
        // Every star is in at least one exposure or in a gap of the last row.
        prop_assert!(stars.len() <= 3 * images as usize);
    }
}
