{{/* How a service with HTTP is reached: Service, tokens, Ingress, HTTPRoute; and the PodMonitor of one with metrics. */}}

{{- define "jetmesh.httpService" -}}
---
apiVersion: v1
kind: Service
metadata: {{- include "jetmesh.metadata" (merge (dict "annotations" .settings.http.serviceAnnotations) .) | nindent 2 }}
spec:
  type: {{ .settings.http.serviceType }}
  selector: {{- include "jetmesh.selector" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .settings.http.servicePort }}, targetPort: http, appProtocol: http}
{{- end -}}

{{/* Made once: an upgrade reads what is there, since a new secret would void every customer's token. */}}
{{- define "jetmesh.httpTokens" -}}
{{- if not .settings.http.tokens }}
{{- $name := include "jetmesh.httpTokensName" . }}
{{- $kept := (lookup "v1" "Secret" .root.Release.Namespace $name).data | default dict }}
---
apiVersion: v1
kind: Secret
metadata: {{- include "jetmesh.metadata" (merge (dict "object" $name) .) | nindent 2 }}
type: Opaque
data:
  secret: {{ get $kept "secret" | default (randAlphaNum 64 | b64enc) }}
  operator-token: {{ get $kept "operator-token" | default (randAlphaNum 40 | b64enc) }}
{{- end }}
{{- end -}}

{{- define "jetmesh.ingress" -}}
{{- with .settings.http.ingress }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{- include "jetmesh.metadata" (merge (dict "annotations" .annotations) $) | nindent 2 }}
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
{{- with .settings.http.gateway }}
{{- if .enabled }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{- include "jetmesh.metadata" (merge (dict "annotations" .annotations) $) | nindent 2 }}
spec:
  parentRefs: {{- uniq .parents | toYaml | nindent 4 }}
  {{- with uniq .hostnames }}
  hostnames: {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - backendRefs: [{name: {{ include "jetmesh.name" $ }}, port: {{ $.settings.http.servicePort }}}]
{{- end }}
{{- end }}
{{- end -}}

{{- define "jetmesh.edge" -}}
{{- if .settings.http.enabled }}
{{ include "jetmesh.httpService" . }}
{{ include "jetmesh.httpTokens" . }}
{{ include "jetmesh.ingress" . }}
{{ include "jetmesh.route" . }}
{{- end }}
{{- end -}}

{{/* Who may call a page: those that the values name, and its own test; everybody where they name nobody. */}}
{{- define "jetmesh.pageIngress" -}}
- ports: [{port: http, protocol: TCP}]
  {{- with .settings.http.from }}
  from: {{- concat . (include "jetmesh.podsOf" (dict "root" $.root "name" (printf "%s-test" $.name)) | fromYamlArray) | toYaml | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "jetmesh.podMonitor" -}}
{{- if and .root.Values.podMonitor.enabled .settings.metrics.port }}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {{- include "jetmesh.metadata" (merge (dict "labels" .root.Values.podMonitor.labels) .) | nindent 2 }}
spec:
  selector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
  podMetricsEndpoints:
    - {port: metrics, path: {{ .settings.metrics.path }}, interval: {{ .root.Values.podMonitor.interval }}}
{{- end }}
{{- end -}}
