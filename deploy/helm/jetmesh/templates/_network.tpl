{{/* What a component may reach and who may reach it. */}}

{{- define "jetmesh.peers" -}}
{{- with . }}
to: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "jetmesh.port" -}}
{{/* The port of a URL, or a default: (list "http://host:4318" "4318"). */}}
{{- $host := (urlParse (index . 0)).host -}}
{{- regexMatch ":[0-9]+$" $host | ternary (regexFind "[0-9]+$" $host) (index . 1) -}}
{{- end -}}

{{- define "jetmesh.egressToBroker" -}}
{{- $ports := list -}}
{{- range splitList "," (include "jetmesh.brokerUrl" .root) -}}
{{- $ports = append $ports (include "jetmesh.port" (list (trim .) "4222")) -}}
{{- end -}}
- ports: {{- range uniq $ports }}
    - {port: {{ . }}, protocol: TCP}
  {{- end }}
  {{- if .root.Values.broker.url }}
  {{- include "jetmesh.peers" .root.Values.networkPolicy.broker | nindent 2 }}
  {{- else }}
  to:
    - podSelector:
        matchLabels: {{- include "jetmesh.selector" (dict "root" .root "name" "broker") | nindent 10 }}
  {{- end }}
{{- end -}}

{{- define "jetmesh.egressToDns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{- define "jetmesh.egressToCollector" -}}
{{- with .root.Values.telemetry.endpoint }}
- ports:
    - {port: {{ include "jetmesh.port" (list . "4318") }}, protocol: TCP}
  {{- include "jetmesh.peers" $.root.Values.networkPolicy.telemetry | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "jetmesh.egressToMail" -}}
{{- $mail := .root.Values.mail -}}
- ports:
    {{- if $mail.url }}
    - {port: {{ include "jetmesh.port" (list $mail.url "25") }}, protocol: TCP}
    {{- else if $mail.secret }}
    - {port: 25, protocol: TCP}
    - {port: 465, protocol: TCP}
    - {port: 587, protocol: TCP}
    {{- else }}
    - {port: 2525, protocol: TCP}
  to:
    - podSelector:
        matchLabels: {{- include "jetmesh.selector" (dict "root" .root "name" "mailsink") | nindent 10 }}
    {{- end }}
{{- end -}}

{{/* The policy of a component; `ingress` and `egress` are lists of rules in YAML. */}}
{{- define "jetmesh.networkPolicy" -}}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- if .ingress }}
  ingress: {{- .ingress | trim | nindent 4 }}
  {{- else }}
  ingress: []
  {{- end }}
  {{- if .egress }}
  egress: {{- .egress | trim | nindent 4 }}
  {{- else }}
  egress: []
  {{- end }}
{{- end }}
{{- end -}}
