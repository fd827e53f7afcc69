{{/*
What a component may reach and who may reach it. Where it goes is read from its environment, so that an address that is
set there has its port opened. An address in a Secret can't be read: the usual ports of its protocol are opened.
*/}}

{{/* The port that a URL names, or those of its scheme, in JSON: (list "https://host" (dict "https" (list 443))). */}}
{{- define "jetmesh.portsOf" -}}
{{- $url := index . 0 | trim -}}
{{- $authority := regexReplaceAll "^[A-Za-z]+://" $url "" | regexFind "^[^/?#]*" -}}
{{- with regexReplaceAll "^.*@" $authority "" | regexFind ":[0-9]+$" | trimPrefix ":" -}}
{{- list (int64 .) | toJson -}}
{{- else -}}
{{- get (index . 1) (regexFind "^[A-Za-z]+://" $url | lower | trimSuffix "://") | default list | toJson -}}
{{- end -}}
{{- end -}}

{{/* The same of a variable, which may be a reference: (dict "value" $value "usual" $ports "unknown" $ports). */}}
{{- define "jetmesh.portsOfVariable" -}}
{{- $ports := list -}}
{{- if kindIs "map" .value -}}
{{- $ports = .unknown -}}
{{- else -}}
{{- range splitList "," (toString .value) -}}
{{- $ports = concat $ports (include "jetmesh.portsOf" (list . $.usual) | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* A rule of egress, none without ports: (dict "ports" (list 4222) "peers" $peers). */}}
{{- define "jetmesh.egressRule" -}}
{{- with uniq .ports }}
- ports: {{- range . }}
    - {port: {{ int64 . }}, protocol: TCP}
  {{- end }}
  {{- with $.peers }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "jetmesh.podsOf" -}}
- podSelector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
{{- end -}}

{{- define "jetmesh.egressToDns" -}}
{{- with default list .root.Values.networkPolicy.dnsPorts | uniq }}
- ports: {{- range . }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "jetmesh.egressToBroker" -}}
{{- with .variables.NATS_URL }}
{{- $ports := include "jetmesh.portsOfVariable" (dict "value" . "usual" (dict "nats" (list 4222) "tls" (list 4222) "ws" (list 80) "wss" (list 443)) "unknown" (list 4222)) | fromJsonArray }}
{{- $peers := $.root.Values.networkPolicy.broker }}
{{- if and (include "jetmesh.ownBroker" $.root) (eq (toString .) (include "jetmesh.brokerUrl" $.root)) }}
{{- $peers = include "jetmesh.podsOf" (dict "root" $.root "name" "broker") | fromYamlArray }}
{{- end }}
{{- include "jetmesh.egressRule" (dict "ports" $ports "peers" $peers) }}
{{- end }}
{{- end -}}

{{/* Each signal may have an endpoint and a protocol of its own. */}}
{{- define "jetmesh.egressToCollector" -}}
{{- $ports := list }}
{{- range $signal := list "" "TRACES_" "METRICS_" "LOGS_" }}
{{- with get $.variables (printf "OTEL_EXPORTER_OTLP_%sENDPOINT" $signal) }}
{{- $protocol := get $.variables (printf "OTEL_EXPORTER_OTLP_%sPROTOCOL" $signal) | default $.variables.OTEL_EXPORTER_OTLP_PROTOCOL }}
{{- $usual := ternary (dict "" (list 4317) "http" (list 4317) "https" (list 4317 443)) (dict "http" (list 80) "https" (list 443)) (eq (toString $protocol) "grpc") }}
{{- $ports = concat $ports (include "jetmesh.portsOfVariable" (dict "value" . "usual" $usual "unknown" (list 4317 4318 443)) | fromJsonArray) }}
{{- end }}
{{- end }}
{{- include "jetmesh.egressRule" (dict "ports" $ports "peers" .root.Values.networkPolicy.telemetry) }}
{{- end -}}

{{- define "jetmesh.egressToMail" -}}
{{- with .variables.JETMESH_SMTP_URL }}
{{- $ports := include "jetmesh.portsOfVariable" (dict "value" . "usual" (dict "smtp" (list 25) "smtps" (list 465)) "unknown" (list 25 465 587)) | fromJsonArray }}
{{- $peers := $.root.Values.networkPolicy.mail }}
{{- if and (include "jetmesh.ownMail" $.root) (eq (toString .) (include "jetmesh.mailUrl" $.root)) }}
{{- $peers = include "jetmesh.podsOf" (dict "root" $.root "name" "mailsink") | fromYamlArray }}
{{- end }}
{{- include "jetmesh.egressRule" (dict "ports" $ports "peers" $peers) }}
{{- end }}
{{- end -}}

{{- define "jetmesh.egressToProxy" -}}
{{- $ports := list }}
{{- range $name := list "HTTP_PROXY" "HTTPS_PROXY" "ALL_PROXY" "http_proxy" "https_proxy" "all_proxy" }}
{{- with get $.variables $name }}
{{- $ports = concat $ports (include "jetmesh.portsOfVariable" (dict "value" . "usual" (dict "" (list 80) "http" (list 80) "https" (list 443)) "unknown" (list 80 443 3128)) | fromJsonArray) }}
{{- end }}
{{- end }}
{{- include "jetmesh.egressRule" (dict "ports" $ports "peers" list) }}
{{- end -}}

{{/* Rules by the variables of a component, and those of its settings. */}}
{{- define "jetmesh.egress" -}}
{{- $here := dict "root" .root "variables" (include "jetmesh.env" . | fromJson) -}}
{{- $rules := list (include "jetmesh.egressToBroker" $here) (include "jetmesh.egressToCollector" $here) (include "jetmesh.egressToMail" $here) (include "jetmesh.egressToProxy" $here) -}}
{{- with .settings.egress }}{{ $rules = append $rules (toYaml .) }}{{ end -}}
{{- with compact $rules }}{{ prepend . (include "jetmesh.egressToDns" $here) | join "\n" }}{{ end -}}
{{- end -}}

{{/* The policy of a component; `ingress` and `env` of it are YAML. */}}
{{- define "jetmesh.networkPolicy" -}}
{{- if .root.Values.networkPolicy.enabled }}
{{- $ingress := concat (default "" .ingress | fromYamlArray) (default list .settings.ingress) | default list }}
{{- $egress := include "jetmesh.egress" . | fromYamlArray | default list }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{- include "jetmesh.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- dict "ingress" $ingress "egress" $egress | toYaml | nindent 2 }}
{{- end }}
{{- end -}}
