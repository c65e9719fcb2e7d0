//! The environment variables of OpenTelemetry that are read here. The exporter reads further ones itself,
//! such as its endpoint and headers; those are only checked here, because it ignores a wrong value.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::http::Uri;
use opentelemetry_sdk::trace::Sampler;

/// How long one request to the receiver may take, unless the environment says otherwise.
const DEFAULT_TIMEOUT_MS: u64 = 10_000;

/// How traces are exported.
#[derive(Debug)]
pub(super) struct Settings {
    /// Decides which of the traces that begin here are exported.
    pub(super) sampler: Sampler,
    /// How long one request to the receiver may take.
    pub(super) timeout: Duration,
}

impl Settings {
    /// Reads the environment. `None` if it does not ask for an export.
    pub(super) fn from_env() -> anyhow::Result<Option<Self>> {
        Self::read(&|name| std::env::var(name).ok())
    }

    fn read(environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Option<Self>> {
        // An empty variable counts as unset, as the specification says.
        let value = |name: &str| environment(name).filter(|value| !value.is_empty());
        let number = |name: &str| {
            let text = value(name);
            let number = text.map(|text| text.parse::<u64>()).transpose();
            number.with_context(|| format!("{name} is not a whole number"))
        };
        // The variable of this signal wins over the one of all signals.
        let names = |suffix: &str| {
            ["TRACES_", ""].map(|signal| format!("OTEL_EXPORTER_OTLP_{signal}{suffix}"))
        };
        let first = |suffix: &str| {
            names(suffix)
                .into_iter()
                .find_map(|name| Some((value(&name)?, name)))
        };
        let one_of = |found: Option<(String, String)>, known: &[&str]| match found {
            Some((value, name)) if !known.contains(&value.as_str()) => {
                bail!(
                    "{name} is {value}, and only {} is supported",
                    known.join(" or ")
                )
            }
            found => Ok(found.map(|(value, _)| value)),
        };
        let named = |name: &str| value(name).map(|value| (value, name.to_owned()));

        // Without an endpoint, the other variables are probably meant for other programs.
        let Some((url, name)) = first("ENDPOINT") else {
            return Ok(None);
        };
        let disabled = one_of(named("OTEL_SDK_DISABLED"), &["true", "false"])?;
        let exporter = one_of(named("OTEL_TRACES_EXPORTER"), &["otlp", "none"])?;
        if disabled.as_deref() == Some("true") || exporter.as_deref() == Some("none") {
            return Ok(None);
        }
        check_url(&url).context(name)?;
        one_of(first("PROTOCOL"), &["http/protobuf"])?;
        one_of(first("COMPRESSION"), &["none"])?;
        let mut timeout_ms = DEFAULT_TIMEOUT_MS;
        for name in names("TIMEOUT").iter().rev() {
            timeout_ms = number(name)?.unwrap_or(timeout_ms);
        }
        for name in [
            "MAX_QUEUE_SIZE",
            "MAX_EXPORT_BATCH_SIZE",
            "SCHEDULE_DELAY",
            "EXPORT_TIMEOUT",
        ] {
            number(&format!("OTEL_BSP_{name}"))?;
        }
        let sampler = sampler(
            value("OTEL_TRACES_SAMPLER").as_deref(),
            value("OTEL_TRACES_SAMPLER_ARG").as_deref(),
        )?;
        Ok(Some(Self {
            sampler,
            timeout: Duration::from_millis(timeout_ms),
        }))
    }
}

fn check_url(url: &str) -> anyhow::Result<()> {
    let uri: Uri = url.parse().context("not a URL")?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    ensure!(
        is_http && uri.host().is_some(),
        "{url} is not a URL that begins with http:// or https://"
    );
    Ok(())
}

fn sampler(name: Option<&str>, ratio: Option<&str>) -> anyhow::Result<Sampler> {
    let ratio_based = || -> anyhow::Result<Sampler> {
        let ratio: f64 = ratio.unwrap_or("1").parse().unwrap_or(f64::NAN);
        ensure!(
            (0.0..=1.0).contains(&ratio),
            "OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1"
        );
        Ok(Sampler::TraceIdRatioBased(ratio))
    };
    let parent_based = |root: Sampler| Sampler::ParentBased(Box::new(root));
    Ok(match name.unwrap_or("parentbased_always_on") {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => ratio_based()?,
        "parentbased_always_on" => parent_based(Sampler::AlwaysOn),
        "parentbased_always_off" => parent_based(Sampler::AlwaysOff),
        "parentbased_traceidratio" => parent_based(ratio_based()?),
        other => bail!(
            "OTEL_TRACES_SAMPLER is {other}, and not one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off and parentbased_traceidratio"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    fn read(variables: &[(&str, &str)]) -> anyhow::Result<Option<Settings>> {
        Settings::read(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn traces_are_exported_if_there_is_an_endpoint_and_nothing_forbids_it() {
        for (variables, exported) in [
            (vec![], false),
            (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "")], false),
            (vec![ENDPOINT], true),
            (
                vec![("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://x/y")],
                true,
            ),
            (vec![ENDPOINT, ("OTEL_SDK_DISABLED", "true")], false),
            (vec![ENDPOINT, ("OTEL_SDK_DISABLED", "false")], true),
            (vec![ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], false),
            (vec![ENDPOINT, ("OTEL_TRACES_EXPORTER", "otlp")], true),
            (vec![("OTEL_TRACES_SAMPLER", "sometimes")], false),
        ] {
            let settings = read(&variables).unwrap();
            assert_eq!(settings.is_some(), exported, "{variables:?}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_the_name_of_its_variable() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_TRACES_EXPORTER", "jaeger"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
        ] {
            let error = format!("{:#}", read(&[(name, value), ENDPOINT]).unwrap_err());
            assert!(error.contains(name), "{name}: {error}");
        }
        for ratio in ["1.5", "-0.1", "a few", "NaN"] {
            let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
            let error = read(&[ENDPOINT, sampler, ("OTEL_TRACES_SAMPLER_ARG", ratio)]).unwrap_err();
            assert!(
                error.to_string().contains("OTEL_TRACES_SAMPLER_ARG"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_variable_of_traces_wins_over_the_one_of_all_signals() {
        let all = ("OTEL_EXPORTER_OTLP_TIMEOUT", "5");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7");
        for (variables, timeout_ms) in [
            (vec![ENDPOINT], 10_000),
            (vec![ENDPOINT, all], 5),
            (vec![ENDPOINT, all, traces], 7),
        ] {
            let settings = read(&variables).unwrap().unwrap();
            assert_eq!(settings.timeout, Duration::from_millis(timeout_ms));
        }
    }
}
