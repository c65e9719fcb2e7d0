//! The export of traces over OTLP, if the environment names a receiver. The spans are made in
//! the crate `trace`.

mod client;
mod settings;

use std::time::Duration;

use anyhow::Context;
use opentelemetry::{Key, KeyValue, global, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{Layer, filter::Targets};

use crate::logging::{self, BoxedLayer};
use client::Client;
use settings::Settings;

/// How long the end of a process may wait until the last spans are exported.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The export of traces, which goes on in a thread of its own: spans wait for it in a queue of limited
/// length, and those that find no room are dropped. Without a place to export to this does nothing.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts logging, and the export if the environment names a place. `service` is the name under which
    /// the spans appear, unless the environment names a different one.
    ///
    /// # Errors
    ///
    /// If an environment variable is invalid. Logging was started in that case, too.
    pub fn start(service: &'static str) -> anyhow::Result<Self> {
        let exported = export(service);
        let provider = exported.as_ref().ok().and_then(Option::as_ref);
        logging::init_with(provider.map(layer));
        let provider = exported?;
        if let Some(provider) = &provider {
            global::set_tracer_provider(provider.clone());
        }
        Ok(Self(provider))
    }

    /// Exports the spans that wait, for at most a second, and ends the export.
    pub fn flush(&self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_LIMIT)
        {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

fn export(service: &'static str) -> anyhow::Result<Option<SdkTracerProvider>> {
    let Some(settings) = Settings::from_env()? else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new(settings.timeout))
        .build()
        .context("export of traces")?;
    let provider = SdkTracerProvider::builder()
        .with_sampler(settings.sampler)
        .with_resource(resource(service))
        .with_batch_exporter(exporter)
        .build();
    Ok(Some(provider))
}

/// The description of this process in the environment, with `service` as its name if the environment has none.
fn resource(service: &'static str) -> Resource {
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let named = Resource::builder().build();
    let name = named.get(&Key::from_static_str("service.name"));
    if name.is_none_or(|name| name.as_str().starts_with("unknown_service")) {
        resource.with_service_name(service).build()
    } else {
        resource.build()
    }
}

/// Hands the spans of the crate `trace` to the exporter, and nothing else.
fn layer(provider: &SdkTracerProvider) -> BoxedLayer {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(trace::TARGET))
        // Each span names its parent, which may be in another process.
        .with_context_activation(false)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(trace::TARGET, tracing::Level::INFO))
        .boxed()
}
