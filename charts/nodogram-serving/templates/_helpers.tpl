{{/* Names. The client of the cluster finds objects by them, so they are fixed: RELEASE-nodogram-serving and what is appended. */}}
{{- define "nodogram-serving.fullname" -}}
{{ printf "%s-%s" .Release.Name .Chart.Name }}
{{- end }}

{{- define "nodogram-serving.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: serving
{{- end }}

{{/* Labels of an object; call with (dict "root" $ "component" "serving"). */}}
{{- define "nodogram-serving.labels" -}}
{{- with .root -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ $.component }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "nodogram-serving.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "nodogram-serving.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* registry/repository:tag@digest */}}
{{- define "nodogram-serving.image" -}}
{{- $registry := .Values.image.registry | default .Values.global.imageRegistry -}}
{{- $tag := .Values.image.tag | default (printf "%s%s" .Chart.AppVersion (ternary "-cuda" "" .Values.gpu.enabled)) -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}:{{ $tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "nodogram-serving.pullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.image.pullSecrets | uniq }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A number as text; Helm's own way of writing 1073741824 is 1.073741824e+09. */}}
{{- define "nodogram-serving.number" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "nodogram-serving.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}{{ include "nodogram-serving.fullname" . }}-tls{{ else }}{{ .Values.tls.existingSecret }}{{ end }}
{{- end }}

{{- define "nodogram-serving.scheme" -}}
{{- ternary "https" "http" (ne (include "nodogram-serving.tlsSecret" .) "") -}}
{{- end }}

{{/*
The bundle to serve, as YAML: what has been promoted stays until bundle.force says otherwise. Without a cluster
(helm template, GitOps) there is nothing to look up, and the values hold; bundle.create=false is for that.
*/}}
{{- define "nodogram-serving.bundle" -}}
{{- $live := lookup "v1" "ConfigMap" .Release.Namespace (printf "%s-bundle" (include "nodogram-serving.fullname" .)) | default dict -}}
{{- include "nodogram-serving.bundleOf" (dict "values" .Values.bundle "live" (get $live "data" | default dict)) -}}
{{- end }}

{{- define "nodogram-serving.bundleOf" -}}
{{- $keep := and (not (empty (get .live "digest"))) (not .values.force) -}}
uri: {{ $keep | ternary (get .live "uri") .values.uri | quote }}
digest: {{ $keep | ternary (get .live "digest") .values.digest | quote }}
differs: {{ and $keep (not (empty .values.digest)) (ne (get .live "digest") .values.digest) }}
{{- end }}

{{/* PromQL matchers of this release. */}}
{{- define "nodogram-serving.matchers" -}}
{{- .Values.metrics.matchers | default (printf "namespace=%q,service=%q" .Release.Namespace (include "nodogram-serving.fullname" .)) -}}
{{- end }}

{{/* After SIGTERM: the delay, then HTTP and then gRPC may each take the grace, and the end itself. */}}
{{- define "nodogram-serving.terminationGrace" -}}
{{- with .Values.server -}}
{{ addf .preStopSleepS .drainDelayS (mulf 2 .shutdownGraceS) 5 | ceil | int64 }}
{{- end }}
{{- end }}

{{/* Settings of the server as environment: every key of values.server is the variable of its name. */}}
{{- define "nodogram-serving.settings" -}}
- {name: HOME, value: /tmp}
- {name: NODOGRAM_BUNDLE, value: /bundle/model}
- {name: NODOGRAM_HTTP_PORT, value: "3000"}
- {name: NODOGRAM_GRPC_PORT, value: "3001"}
- {name: NODOGRAM_PROVIDER, value: {{ ternary .Values.gpu.provider "cpu" .Values.gpu.enabled }}}
{{- range $key, $value := omit .Values.server "preStopSleepS" }}
{{- if not (kindIs "invalid" $value) }}
- {name: NODOGRAM_{{ snakecase $key | upper }}, value: {{ include "nodogram-serving.number" $value | quote }}}
{{- end }}
{{- end }}
{{- if .Values.tokens.existingSecret }}
- {name: NODOGRAM_TOKEN_FILE, value: /tokens/tokens}
{{- else if .Values.tokens.allowAnonymous }}
- {name: NODOGRAM_ALLOW_ANONYMOUS, value: "true"}
{{- end }}
{{- if include "nodogram-serving.tlsSecret" . }}
- {name: NODOGRAM_TLS_CERTIFICATE, value: /tls/tls.crt}
- {name: NODOGRAM_TLS_KEY, value: /tls/tls.key}
{{- end }}
{{- if .Values.tls.clientCaSecret }}
- {name: NODOGRAM_TLS_CLIENT_CA, value: /tls-clients/ca.crt}
{{- end }}
{{- end }}

{{/* How a probe asks; call with (dict "root" $ "path" "/readyz" "times" .Values.probes.readiness). */}}
{{- define "nodogram-serving.probe" -}}
{{- with .root -}}
{{- if eq .Values.probes.protocol "grpc" -}}
grpc: {port: 3001}
{{- else if eq .Values.probes.protocol "exec" -}}
exec:
  command:
    - python3
    - /check/ask.py
    - {{ include "nodogram-serving.scheme" . }}://127.0.0.1:3000
    - --path={{ $.path }}
    {{- if include "nodogram-serving.tlsSecret" . }}
    - --tls-folder=/tls-client
    {{- end }}
{{- else -}}
httpGet: {path: {{ $.path }}, port: http, scheme: {{ include "nodogram-serving.scheme" . | upper }}}
{{- end }}
{{ toYaml $.times }}
{{- end }}
{{- end }}

{{/* Volumes with tokens and certificates, shared by the server and the test. */}}
{{- define "nodogram-serving.secretVolumes" -}}
{{- with .Values.tokens }}
{{- if .existingSecret }}
- {name: tokens, secret: {secretName: {{ .existingSecret }}, defaultMode: 0440, items: [{key: {{ .key }}, path: tokens}]}}
{{- end }}
{{- end }}
{{- with include "nodogram-serving.tlsSecret" . }}
- {name: tls, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- end }}

{{/* Resources with the limits that go without saying; call with (dict "resources" ... "names" (list "memory")). */}}
{{- define "nodogram-serving.limited" -}}
{{- $requests := .resources.requests | default dict -}}
{{- $limits := merge (dict) (.resources.limits | default dict) (pick $requests "memory") (ternary (pick $requests "cpu") dict (has "cpu" .names)) -}}
{{ toYaml (merge (dict "limits" $limits) .resources) }}
{{- end }}

{{/* Resources of the server with its GPU: as an extended resource, or as claims. */}}
{{- define "nodogram-serving.resources" -}}
{{- $names := ternary (list "memory") (list "memory" "cpu") (not (kindIs "invalid" .Values.server.caseWorkers)) -}}
{{- $resources := include "nodogram-serving.limited" (dict "resources" .Values.resources "names" $names) | fromYaml -}}
{{- if .Values.gpu.enabled -}}
{{- if .Values.gpu.resourceClaims -}}
{{- $claims := list }}{{ range .Values.gpu.resourceClaims }}{{ $claims = append $claims (dict "name" .name) }}{{ end -}}
{{- $_ := set $resources "claims" (concat (get $resources "claims" | default list) $claims) -}}
{{- else -}}
{{- $limits := get $resources "limits" | default dict -}}
{{- $_ := set $limits .Values.gpu.resourceName (int64 .Values.gpu.count) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- end -}}
{{ toYaml $resources }}
{{- end }}

{{/* A quantity of Kubernetes in bytes. */}}
{{- define "nodogram-serving.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (regexFind "^[0-9.]+" (toString .) | float64) (get $units (regexFind "[A-Za-z]*$" (toString .)) | default 1) | int64 -}}
{{- end }}

{{/* CPUs of the limit, or of the request that becomes it, in whole ones: what the server counts as cores. */}}
{{- define "nodogram-serving.cores" -}}
{{- $cpu := dig "limits" "cpu" (dig "requests" "cpu" "1" .Values.resources) .Values.resources | toString -}}
{{- $count := float64 (trimSuffix "m" $cpu) -}}
{{- if hasSuffix "m" $cpu }}{{ $count = divf $count 1000 }}{{ end -}}
{{- max 1 (ceil $count) | int64 -}}
{{- end }}
