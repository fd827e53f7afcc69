{{/*
The environment of a container: what the chart sets, as a map of name to text or {valueFrom}, under what the values say.
What the broker asks of a client (address, credentials, certificates) comes with its volumes and mounts.
*/}}

{{/* Where the broker is. */}}
{{- define "jetmesh.brokerUrl" -}}
{{- if .Values.broker.url }}{{ .Values.broker.url }}{{ else }}nats://{{ include "jetmesh.name" (dict "root" . "name" "broker") }}:4222{{ end -}}
{{- end -}}

{{/* Whether the chart brings the broker, or the mail server. */}}
{{- define "jetmesh.ownBroker" -}}
{{- if not (or .Values.broker.url .Values.broker.secret) }}true{{ end -}}
{{- end -}}

{{- define "jetmesh.ownMail" -}}
{{- if not (or .Values.mail.url .Values.mail.secret .Values.ownServices) }}true{{ end -}}
{{- end -}}

{{/* Whether `helm test` has something to run: the reference mesh's test knows its services alone. */}}
{{- define "jetmesh.hasTest" -}}
{{- if or .Values.test.command (not .Values.ownServices) }}true{{ end -}}
{{- end -}}

{{- define "jetmesh.mailUrl" -}}
{{- .Values.mail.url | default (printf "smtp://%s:2525" (include "jetmesh.name" (dict "root" . "name" "mailsink"))) -}}
{{- end -}}

{{/* The Secret of the nkey seed of a component with `credentials`; empty where it has none. */}}
{{- define "jetmesh.seedSecret" -}}
{{- with .settings.credentials -}}
{{- if .secret }}{{ .secret -}}
{{- else if .seed }}{{ include "jetmesh.name" $ }}-nkey{{ else }}{{ $.root.Values.broker.keys }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Its key: what the mesh's own key files are called, of the service or of the user that a Job is. */}}
{{- define "jetmesh.seedKey" -}}
{{- .settings.credentials.key | default (printf "%s.nk" (.user | default .name)) -}}
{{- end -}}

{{/* Whether the seed of the user that answers `nats micro` is in the same Secret. */}}
{{- define "jetmesh.microKey" -}}
{{- if and .service .root.Values.broker.keys (eq (include "jetmesh.seedSecret" .) .root.Values.broker.keys) }}{{ .name }}-micro.nk{{ end -}}
{{- end -}}

{{/* A Secret for a seed that the values hold. */}}
{{- define "jetmesh.seed" -}}
{{- if and .settings.credentials.seed (not .settings.credentials.secret) }}
---
apiVersion: v1
kind: Secret
metadata: {{- include "jetmesh.metadata" (merge (dict "object" (printf "%s-nkey" (include "jetmesh.name" .))) .) | nindent 2 }}
type: Opaque
stringData:
  {{ include "jetmesh.seedKey" . }}: {{ .settings.credentials.seed | quote }}
{{- end }}
{{- end -}}

{{/* Of every process on the broker: who it is and where the broker is. */}}
{{- define "jetmesh.brokerEnv" -}}
JETMESH_APP: {{ .root.Values.app | quote }}
{{- with .root.Values.broker }}
{{- if .secret }}
NATS_URL: {valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .secretKey }}}}}
{{- else }}
NATS_URL: {{ include "jetmesh.brokerUrl" $.root | quote }}
{{- end }}
{{- end }}
JETMESH_LOG_FORMAT: json
{{- with .root.Values.tenant }}
JETMESH_TENANT: {{ . | quote }}
{{- end }}
{{- with .root.Values.topology.partitions }}
{{- if include "jetmesh.ownBroker" $.root }}
{{- fail "topology.partitions: the embedded broker routes nothing by key; name your own broker with broker.url" }}
{{- end }}
JETMESH_PARTITIONS: {{ . | quote }}
{{- end }}
{{- if include "jetmesh.seedSecret" . }}
JETMESH_NATS_NKEY_SEED: /etc/jetmesh/nkey/seed
{{- if or .service .ownAccount }}
JETMESH_NATS_API_PREFIX: {{ .root.Values.broker.apiPrefix | quote }}
{{- end }}
{{- end }}
{{- if include "jetmesh.microKey" . }}
JETMESH_NATS_MICRO_NKEY_SEED: /etc/jetmesh/nkey/micro
{{- end }}
{{- with .root.Values.broker.tls }}
{{- if .secret }}
JETMESH_NATS_TLS_CA: /etc/jetmesh/tls/ca.crt
{{- if .certificate }}
JETMESH_NATS_TLS_CERTIFICATE: /etc/jetmesh/tls/tls.crt
JETMESH_NATS_TLS_KEY: /etc/jetmesh/tls/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "jetmesh.brokerMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "jetmesh.seedSecret" . }}
- {name: nkey, mountPath: /etc/jetmesh/nkey, readOnly: true}
{{- end }}
{{- if .root.Values.broker.tls.secret }}
- {name: tls, mountPath: /etc/jetmesh/tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "jetmesh.brokerVolumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 64Mi}}
{{- with include "jetmesh.seedSecret" . }}
- name: nkey
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - {key: {{ include "jetmesh.seedKey" $ }}, path: seed}
      {{- with include "jetmesh.microKey" $ }}
      - {key: {{ . }}, path: micro}
      {{- end }}
{{- end }}
{{- with .root.Values.broker.tls }}
{{- if .secret }}
- name: tls
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      - {key: {{ .ca }}, path: ca.crt}
      {{- if .certificate }}
      - {key: {{ .certificate }}, path: tls.crt}
      - {key: {{ .key }}, path: tls.key}
      {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "jetmesh.telemetryEnv" -}}
{{- with .root.Values.telemetry }}
{{- if .endpoint }}
POD_NAME: {valueFrom: {fieldRef: {fieldPath: metadata.name}}}
POD_UID: {valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
NODE_NAME: {valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_EXPORTER_OTLP_PROTOCOL: {{ .protocol }}
OTEL_RESOURCE_ATTRIBUTES: {{ include "jetmesh.resourceAttributes" $ | quote }}
{{- with .sampler }}
OTEL_TRACES_SAMPLER: {{ . }}
{{- end }}
{{- with .samplerArgument }}
OTEL_TRACES_SAMPLER_ARG: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Jaeger corrects no clocks between spans of one `host.name`. */}}
{{- define "jetmesh.podAttributes" -}}
k8s.namespace.name: {{ .Release.Namespace }}
k8s.pod.name: $(POD_NAME)
service.instance.id: $(POD_UID)
host.name: $(NODE_NAME)
{{- end -}}

{{/* Each attribute once; what would part two of them is percent-encoded. */}}
{{- define "jetmesh.resourceAttributes" -}}
{{- $attributes := include "jetmesh.merged" (list (include "jetmesh.podAttributes" .root | fromYaml) .root.Values.telemetry.resourceAttributes) | fromJson -}}
{{- $pairs := list -}}
{{- range $name, $value := $attributes -}}
{{- $pairs = append $pairs (printf "%s=%s" $name ($value | replace "," "%2C" | replace ";" "%3B" | replace " " "%20" | replace "\"" "%22" | replace "\\" "%5C")) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{- define "jetmesh.httpTokensName" -}}
{{- .settings.http.tokens | default (printf "%s-http" (include "jetmesh.name" .)) -}}
{{- end -}}

{{- define "jetmesh.serviceEnv" -}}
{{- include "jetmesh.brokerEnv" . }}
JETMESH_CONNECT_SECONDS: "3600"
JETMESH_HEALTH_HOST: 0.0.0.0
JETMESH_HEALTH_PORT: "8081"
JETMESH_DRAIN_SECONDS: {{ .settings.drainSeconds | toJson | quote }}
JETMESH_SLOTS: {{ .settings.slots | toJson | quote }}
JETMESH_LOG_LEVEL: {{ .settings.logLevel }}
JETMESH_STATE: /var/lib/jetmesh
{{- if .settings.http.enabled }}
JETMESH_HTTP_HOST: 0.0.0.0
JETMESH_HTTP_PORT: {{ .settings.http.port | toJson | quote }}
JETMESH_HTTP_PAUSE_SECONDS: {{ include "jetmesh.pauseSeconds" . | quote }}
JETMESH_HTTP_SECRET: {valueFrom: {secretKeyRef: {name: {{ include "jetmesh.httpTokensName" . }}, key: secret}}}
JETMESH_HTTP_OPERATOR_TOKEN: {valueFrom: {secretKeyRef: {name: {{ include "jetmesh.httpTokensName" . }}, key: operator-token}}}
{{- end }}
{{- if .settings.mail }}
{{- with .root.Values.mail }}
JETMESH_MAIL_SENDER: {{ .sender | quote }}
{{- if .secret }}
JETMESH_SMTP_URL: {valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}}
{{- else }}
JETMESH_SMTP_URL: {{ include "jetmesh.mailUrl" $.root | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- include "jetmesh.telemetryEnv" . }}
{{- end -}}

{{/* All variables of a component, in JSON: its `env` in YAML is the chart's own, under that of its settings. */}}
{{- define "jetmesh.env" -}}
{{- $env := default "" .env | fromYaml -}}
{{- range $name, $value := .settings.env -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $env $name -}}
{{- else -}}
{{- $_ := set $env $name $value -}}
{{- end -}}
{{- end -}}
{{- toJson $env -}}
{{- end -}}

{{/* The same as a container wants them. What refers to others by $(NAME) comes after them. */}}
{{- define "jetmesh.envList" -}}
{{- $plain := list -}}
{{- $referring := list -}}
{{- range $name, $value := include "jetmesh.env" . | fromJson -}}
{{- if kindIs "map" $value -}}
{{- $plain = append $plain (merge (dict "name" $name) $value) -}}
{{- else -}}
{{- $text := kindIs "string" $value | ternary $value (toJson $value) -}}
{{- if contains "$(" $text -}}
{{- $referring = append $referring (dict "name" $name "value" $text) -}}
{{- else -}}
{{- $plain = append $plain (dict "name" $name "value" $text) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (concat $plain $referring) -}}
{{- end -}}
