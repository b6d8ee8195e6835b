//! Which of the manifest's images a daemon has.

use crate::{
    Config, Unavailable,
    catalog::Catalog,
    daemon::{Daemon, SHORT},
};

/// A kind's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindImage {
    /// The kind, such as `nodejs:20`.
    pub kind: String,
    /// The image that these settings name for it.
    pub image: String,
    /// Why it cannot be used as it is, if so.
    pub lacking: Option<String>,
}

/// Asks the daemon for the image of every kind. Makes and pulls nothing.
pub async fn look_for_images(config: &Config) -> Result<Vec<KindImage>, Unavailable> {
    let catalog = Catalog::read(config).map_err(Unavailable::Manifest)?;
    let daemon = Daemon::connect(&config.host, config.calls).await?;
    let mut images = Vec::new();
    for (kind, image) in catalog.kinds() {
        let lacking = match daemon.call(SHORT, |docker| docker.inspect_image(image.as_str())).await {
            Ok(_) => None,
            Err(failed) if failed.is_missing() => Some("it is not here; its first container would pull it".to_owned()),
            Err(failed) => Some(failed.to_string()),
        };
        images.push(KindImage { kind: kind.to_owned(), image: image.to_string(), lacking });
    }
    Ok(images)
}
