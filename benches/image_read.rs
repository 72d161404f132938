//! Reads one image and says how long it took: what `benches/image-throughput` measures.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use compat::image::{Limits, Listing, Source, read};
use compat::registry::{Client, ClientOptions, Silent};

fn main() -> ExitCode {
    let Some(text) = std::env::args().nth(1) else {
        eprintln!("usage: image-read IMAGE");
        return ExitCode::from(2);
    };
    match measure(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(3)
        }
    }
}

fn measure(text: &str) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let client = Client::new(ClientOptions::default(), Arc::new(Silent));
    let (source, limits) = (Source::parse(text)?, Limits::default());
    let image = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listing = Listing::open(&client, &source, &limits).await?;
        read(&listing, &listing.images[0], &limits).await
    })?;
    let (objects, kept) = (image.tree.objects().count(), image.tree.kept() >> 10);
    println!("{:?}, {objects} objects in {kept} KiB, {:.3} s", image.size, start.elapsed().as_secs_f64());
    Ok(())
}
