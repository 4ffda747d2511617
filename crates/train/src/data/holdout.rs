//! Images held out of training, on which the model is asked while it trains.
//!
//! **Invariant:** whether an image is held out follows from the seed and the images' digests, not
//! from their order, and images with the same bytes, or nearly the same picture where the caller
//! knows, are on the same side.

use std::collections::{BTreeSet, HashMap};

use sample::seed;

use super::ExampleImage;

/// The paths of the images to hold out: `share` of them, rounded, but at least one and not all.
///
/// `near` gives, for the digest of an image that looks nearly as another one does, the digest of the
/// first of those. The share then counts such families, not files.
pub fn held_out<'a>(
    images: impl Iterator<Item = &'a ExampleImage>,
    share: f64,
    run_seed: u64,
    near: &HashMap<String, String>,
) -> BTreeSet<String> {
    let family = |image: &'a ExampleImage| -> &str {
        // A digest that is not known cannot be compared; the path is then all there is.
        let own = if image.sha256.is_empty() {
            &image.path
        } else {
            &image.sha256
        };
        near.get(own).unwrap_or(own)
    };
    // The path stands with its family in the map: one image is shown by many examples.
    let of_path: HashMap<&str, &str> = images
        .map(|image| (image.path.as_str(), family(image)))
        .collect();
    let families: BTreeSet<&str> = of_path.values().copied().collect();
    let count = (families.len() as f64 * share).round() as usize;
    let count = match families.len() {
        0 | 1 => 0,
        _ if share <= 0.0 => 0,
        families => count.clamp(1, families - 1),
    };
    let mut ranked: Vec<(u64, &str)> = families
        .into_iter()
        .map(|family| {
            (
                seed::derive(run_seed, &["train", "holdout", family]),
                family,
            )
        })
        .collect();
    ranked.sort_unstable();
    ranked.truncate(count);
    let chosen: BTreeSet<&str> = ranked.into_iter().map(|(_, family)| family).collect();
    of_path
        .into_iter()
        .filter(|(_, family)| chosen.contains(family))
        .map(|(path, _)| path.to_owned())
        .collect()
}

/// Parts `items` (samples, examples) into those that are trained on and those whose image is in
/// `held`, both in their order. Those without an image are trained on.
pub fn part<T>(
    items: Vec<T>,
    held: &BTreeSet<String>,
    image: impl Fn(&T) -> Option<&str>,
) -> (Vec<T>, Vec<T>) {
    items
        .into_iter()
        .partition(|item| image(item).is_none_or(|path| !held.contains(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(count: usize) -> Vec<ExampleImage> {
        let image = |n: usize| ExampleImage {
            path: format!("a/{n}.png"),
            sha256: format!("{n:064x}"),
        };
        (0..count).map(image).collect()
    }

    #[test]
    fn the_share_is_held_out_whatever_the_order_and_another_seed_holds_out_others() {
        let mut all = images(200);
        let none = HashMap::new();
        let held = held_out(all.iter(), 0.1, 5, &none);
        assert_eq!(held.len(), 20);
        all.reverse();
        assert_eq!(held_out(all.iter(), 0.1, 5, &none), held);
        assert_ne!(held_out(all.iter(), 0.1, 6, &none), held);
        // Of those that stay, an image's side does not change because another is gone.
        let fewer = held_out(all[1..].iter(), 0.1, 5, &none);
        assert!(held.intersection(&fewer).count() >= 19);
    }

    #[test]
    fn nothing_is_held_out_of_one_image_or_by_a_share_of_zero_and_one_by_a_tiny_one() {
        let none = HashMap::new();
        let count = |images: &[ExampleImage], share| held_out(images.iter(), share, 1, &none).len();
        assert_eq!(count(&images(50), 0.0), 0);
        assert_eq!(count(&images(1), 0.5), 0);
        assert_eq!(count(&images(50), 1e-9), 1);
        assert_eq!(count(&images(3), 0.9), 2);
    }

    #[test]
    fn the_same_bytes_and_nearly_the_same_pictures_stay_together() {
        let mut all = images(40);
        for n in 0..20 {
            all[n + 20].sha256 = all[n].sha256.clone();
        }
        let near: HashMap<String, String> = (0..10)
            .map(|n| (all[2 * n + 1].sha256.clone(), all[2 * n].sha256.clone()))
            .collect();
        let held = held_out(all.iter(), 0.5, 3, &near);
        assert_eq!(held.len(), 20);
        for n in 0..10 {
            let on_side = |i: usize| held.contains(&all[i].path);
            let family = [2 * n, 2 * n + 1, 2 * n + 20, 2 * n + 21].map(on_side);
            assert!(family == [true; 4] || family == [false; 4]);
        }
        let (trained, kept) = part(all, &held, |image| Some(&image.path));
        assert_eq!((trained.len(), kept.len()), (20, 20));
        let (trained, kept) = part(vec![1, 2], &held, |_| None);
        assert_eq!((trained.len(), kept.len()), (2, 0));
    }
}
