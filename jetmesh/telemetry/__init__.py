"""Traces, metrics and logs, by OpenTelemetry's conventions for messaging."""
