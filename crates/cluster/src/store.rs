//! Images in a store that speaks S3, as paths `s3://BUCKET/KEY`.
//!
//! Whoever needs an image's bytes asks [`sample::pixels`], which asks here for such paths; so every function
//! works on them, on an executor and in a process of its own. Where the store is and who asks comes from the
//! environment that other tools of S3 use: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
//! `AWS_SESSION_TOKEN`, `AWS_REGION`; `AWS_ALLOW_HTTP=true` lets it go without TLS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStoreExt, RetryConfig};
use sample::pixels::{Fault, MAX_FILE, Store};
use tokio::runtime::Runtime;

/// How often an answer that broke off is asked for again; answers that say no are asked for again below.
const BROKEN_OFF: u32 = 5;
/// Buckets kept open.
const MOST_BUCKETS: usize = 64;

/// From now on this process reads `s3://` paths. Nothing is connected before the first of them.
pub fn register() {
    // Where one is registered already, it is this one.
    sample::pixels::set_store(Box::new(S3::from_environment()));
}

/// A store that speaks S3.
pub struct S3 {
    settings: AmazonS3Builder,
    open: Mutex<Option<Open>>,
}

struct Open {
    /// Reading waits on a channel and not on this runtime, since it happens on threads of others.
    runtime: Arc<Runtime>,
    buckets: HashMap<String, Arc<AmazonS3>>,
}

impl S3 {
    /// As the environment says.
    pub fn from_environment() -> S3 {
        S3::new(AmazonS3Builder::from_env())
    }

    /// With these settings, for any bucket.
    pub fn new(settings: AmazonS3Builder) -> S3 {
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: 10,
            retry_timeout: Duration::from_secs(60),
        };
        S3 {
            settings: settings.with_retry(retry),
            open: Mutex::new(None),
        }
    }

    fn bucket(&self, name: &str) -> Result<(Arc<Runtime>, Arc<AmazonS3>), Fault> {
        let refused = |e: &dyn std::fmt::Display| Fault::Unreadable(format!("store: {e}"));
        let mut guard = self.open.lock().map_err(|e| refused(&e))?;
        let open = match &mut *guard {
            Some(open) => open,
            none => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name("store")
                    .enable_all()
                    .build()
                    .map_err(|e| refused(&e))?;
                none.insert(Open {
                    runtime: Arc::new(runtime),
                    buckets: HashMap::new(),
                })
            }
        };
        if let Some(bucket) = open.buckets.get(name) {
            return Ok((open.runtime.clone(), bucket.clone()));
        }
        if open.buckets.len() >= MOST_BUCKETS {
            open.buckets.clear();
        }
        let built = self.settings.clone().with_bucket_name(name).build();
        let bucket = Arc::new(built.map_err(|e| refused(&e))?);
        open.buckets.insert(name.to_owned(), bucket.clone());
        Ok((open.runtime.clone(), bucket))
    }
}

impl Store for S3 {
    fn read(&self, bucket: &str, key: &str) -> Result<Vec<u8>, Fault> {
        let path = Path::parse(key).map_err(|e| Fault::Unreadable(e.to_string()))?;
        let (runtime, bucket) = self.bucket(bucket)?;
        let (answer, wait) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            let _ = answer.send(read(&bucket, &path).await);
        });
        wait.recv()
            .unwrap_or_else(|_| Err(Fault::Unreadable("reading from the store ended".into())))
    }
}

async fn read(bucket: &AmazonS3, path: &Path) -> Result<Vec<u8>, Fault> {
    let mut tried = 0;
    loop {
        match once(bucket, path).await {
            Ok(bytes) => return Ok(bytes),
            Err(Broken::Off(why)) => {
                tried += 1;
                if tried == BROKEN_OFF {
                    return Err(Fault::Unreadable(why));
                }
                tokio::time::sleep(Duration::from_millis(100 << tried)).await;
            }
            Err(Broken::For(fault)) => return Err(fault),
        }
    }
}

enum Broken {
    /// In the middle of an answer.
    Off(String),
    /// For this reason, which another try would not change.
    For(Fault),
}

async fn once(bucket: &AmazonS3, path: &Path) -> Result<Vec<u8>, Broken> {
    let answer = bucket.get(path).await.map_err(|error| {
        Broken::For(match error {
            object_store::Error::NotFound { .. } => Fault::Missing,
            other => Fault::Unreadable(other.to_string()),
        })
    })?;
    if answer.meta.size > MAX_FILE {
        return Err(Broken::For(Fault::TooLong(answer.meta.size)));
    }
    let promised = answer.meta.size;
    let mut bytes = Vec::new();
    let mut stream = answer.into_stream();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part.map_err(|e| Broken::Off(e.to_string()))?);
        // Whatever the header promised.
        if bytes.len() as u64 > MAX_FILE {
            return Err(Broken::For(Fault::TooLong(bytes.len() as u64)));
        }
    }
    if bytes.len() as u64 != promised {
        let (got, size) = (bytes.len(), promised);
        return Err(Broken::Off(format!("{got} of {size} bytes arrived")));
    }
    Ok(bytes)
}
