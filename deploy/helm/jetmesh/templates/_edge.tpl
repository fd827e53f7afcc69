{{/* How a service with HTTP is reached: Service, tokens, Ingress, HTTPRoute; and the PodMonitor of one with metrics. */}}

{{- define "jetmesh.httpService" -}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
spec:
  type: {{ .service.http.serviceType }}
  selector: {{- include "jetmesh.selector" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .service.http.servicePort }}, targetPort: http, appProtocol: http}
{{- end -}}

{{/* Made once: an upgrade reads what is there, since a new secret would void every customer's token. */}}
{{- define "jetmesh.httpTokens" -}}
{{- if not .service.http.tokens }}
{{- $name := printf "%s-http" (include "jetmesh.name" .) }}
{{- $kept := (lookup "v1" "Secret" .root.Release.Namespace $name).data | default dict }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ $name }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
type: Opaque
data:
  secret: {{ get $kept "secret" | default (randAlphaNum 64 | b64enc) }}
  operator-token: {{ get $kept "operator-token" | default (randAlphaNum 40 | b64enc) }}
{{- end }}
{{- end -}}

{{- define "jetmesh.ingress" -}}
{{- with .service.http.ingress }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "jetmesh.name" $ }}
  labels: {{- include "jetmesh.labels" $ | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- if .tlsSecret }}
  tls: [{hosts: [{{ .host | quote }}], secretName: {{ .tlsSecret }}}]
  {{- end }}
  rules:
    - host: {{ .host | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {service: {name: {{ include "jetmesh.name" $ }}, port: {name: http}}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "jetmesh.route" -}}
{{- with .service.http.gateway }}
{{- if .enabled }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ include "jetmesh.name" $ }}
  labels: {{- include "jetmesh.labels" $ | nindent 4 }}
spec:
  parentRefs: {{- toYaml .parents | nindent 4 }}
  {{- with .hostnames }}
  hostnames: {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - backendRefs: [{name: {{ include "jetmesh.name" $ }}, port: {{ $.service.http.servicePort }}}]
{{- end }}
{{- end }}
{{- end -}}

{{- define "jetmesh.edge" -}}
{{- if .service.http.enabled }}
{{ include "jetmesh.httpService" . }}
{{ include "jetmesh.httpTokens" . }}
{{ include "jetmesh.ingress" . }}
{{ include "jetmesh.route" . }}
{{- end }}
{{- end -}}

{{- define "jetmesh.podMonitor" -}}
{{- if and .root.Values.podMonitor.enabled .service.metrics.port }}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
    {{- with .root.Values.podMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
  podMetricsEndpoints:
    - {port: metrics, path: {{ .service.metrics.path }}, interval: {{ .root.Values.podMonitor.interval }}}
{{- end }}
{{- end -}}
