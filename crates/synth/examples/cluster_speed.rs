//! Seconds to cluster a file of questions, one a line, as `bench/python/cluster_speed.py` does.
//!
//! ```text
//! cargo run --release -p synth --example cluster_speed -- FILE.txt
//! ```
#![allow(clippy::print_stdout)]

use std::time::Instant;

use sample::{Task, seed};
use synth::demonstrations::{Bank, kmeans, tfidf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give a file of questions")?;
    let text = std::fs::read_to_string(path)?;
    let questions: Vec<&str> = text.lines().collect();

    let start = Instant::now();
    let counts = vec![1; questions.len()];
    let (vocabulary, rows) = tfidf::tfidf(&questions, &counts);
    let vectors = start.elapsed();
    let weights = vec![1.0; questions.len()];
    let mut rng = seed::rng(1, &["kmeans", "speed"]);
    let found = kmeans::cluster(&rows, &weights, 5, &mut rng);
    println!(
        "{} questions, {} words: TF-IDF {:.2} s, K-means {:.2} s ({} iterations), inertia {:.0}",
        questions.len(),
        vocabulary.len(),
        vectors.as_secs_f64(),
        (start.elapsed() - vectors).as_secs_f64(),
        found.iterations,
        found.inertia,
    );

    let start = Instant::now();
    let images: Vec<String> = (0..questions.len() / 4 + 1)
        .map(|i| i.to_string())
        .collect();
    let numbered = questions.iter().enumerate();
    let asked = numbered.map(|(i, q)| (Task::Vqa, "one", *q, images[i / 4].as_str()));
    let bank = Bank::build(asked, 5, 1);
    println!("the whole bank: {:.2} s", start.elapsed().as_secs_f64());
    for row in bank.clusters() {
        println!(
            "  {} of {} questions, {:?}",
            row.cluster, row.size, row.example
        );
    }
    let start = Instant::now();
    let draw = |image: &String| bank.draw(Task::Vqa, image, image, 1).len();
    let drawn: usize = images.iter().map(draw).sum();
    let each = start.elapsed().as_secs_f64() / images.len() as f64;
    println!("{drawn} drawn, {:.1} us an image", each * 1e6);
    Ok(())
}
