//! Uploads a file with one of the Rust clients and prints its URL: `compatibility CLIENT upload ENDPOINT FILE`, or
//! continues an upload: `compatibility CLIENT resume URL FILE`.

use std::env;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

const CHUNK_BYTES: usize = 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [client, verb, url, file] = arguments.as_slice() else {
        return Err("usage: compatibility CLIENT upload|resume URL FILE".into());
    };
    let is_new = verb == "upload";
    let location = match client.as_str() {
        "tus_client" => blocking(url, Path::new(file), is_new)?,
        "tus_async_client" => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(asynchronous(url, Path::new(file), is_new))?,
        _ => return Err("CLIENT is tus_client or tus_async_client".into()),
    };
    println!("{location}");
    Ok(())
}

fn blocking(url: &str, file: &Path, is_new: bool) -> Result<String, Box<dyn Error>> {
    let client = tus_client::Client::new(reqwest09::Client::new());
    let location = if is_new { client.create(url, file)? } else { url.to_string() };
    client.upload_with_chunk_size(&location, file, CHUNK_BYTES)?;
    Ok(location)
}

async fn asynchronous(url: &str, file: &Path, is_new: bool) -> Result<String, Box<dyn Error>> {
    let handler = tus_async_client::http::HttpHandler::new(Arc::new(reqwest011::Client::new()));
    let client = tus_async_client::Client::new(handler);
    let location = if is_new { client.create(url, file).await? } else { url.to_string() };
    client.upload_with_chunk_size(&location, file, CHUNK_BYTES).await?;
    Ok(location)
}
