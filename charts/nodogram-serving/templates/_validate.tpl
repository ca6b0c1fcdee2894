{{/* What a schema cannot say in words: values that exclude or need each other. */}}
{{- define "nodogram-serving.validate" -}}
{{- $faults := list -}}
{{- $tls := include "nodogram-serving.tlsSecret" . -}}
{{- if gt (len .Release.Name) 36 }}{{ $faults = append $faults (printf "release name %s has %d characters; at most 36 are allowed, so that no name is cut" .Release.Name (len .Release.Name)) }}{{ end -}}
{{- if eq .Values.image.tag "latest" }}{{ $faults = append $faults "image.tag is latest, which says nothing; name a version" }}{{ end -}}
{{- with .Values.bundle }}
{{- if and .create (not (and .uri .digest)) }}{{ $faults = append $faults "bundle.uri and bundle.digest are required: what is served is named and verified" }}{{ end -}}
{{- if and (not .create) (or .uri .digest .force) }}{{ $faults = append $faults "bundle.create is false: bundle.uri, bundle.digest and bundle.force belong to the hand that owns the ConfigMap" }}{{ end -}}
{{- if and .create (hasPrefix "file://" .uri) (not .existingClaim) }}{{ $faults = append $faults "bundle.uri is file://: bundle.existingClaim is required" }}{{ end -}}
{{- if and .create .existingClaim (not (hasPrefix "file:///bundles/" .uri)) }}{{ $faults = append $faults "bundle.existingClaim is mounted at /bundles: bundle.uri must begin with file:///bundles/" }}{{ end -}}
{{- end }}
{{- with .Values.tokens }}
{{- if and .existingSecret .allowAnonymous }}{{ $faults = append $faults "tokens.existingSecret and tokens.allowAnonymous exclude each other" }}{{ end -}}
{{- if not (or .existingSecret .allowAnonymous) }}{{ $faults = append $faults "tokens.existingSecret is required, or tokens.allowAnonymous=true to serve whoever reaches the pod" }}{{ end -}}
{{- end }}
{{- with .Values.tls }}
{{- if and .existingSecret .certManager.enabled }}{{ $faults = append $faults "tls.existingSecret and tls.certManager exclude each other" }}{{ end -}}
{{- if and .certManager.enabled (not .certManager.issuer.name) }}{{ $faults = append $faults "tls.certManager needs issuer.name" }}{{ end -}}
{{- if and .clientCaSecret (not $tls) }}{{ $faults = append $faults "tls.clientCaSecret needs tls.existingSecret or tls.certManager" }}{{ end -}}
{{- if and .clientCaSecret (ne $.Values.probes.protocol "exec") }}{{ $faults = append $faults "tls.clientCaSecret needs probes.protocol=exec: the kubelet has no certificate to show" }}{{ end -}}
{{- end }}
{{- if and $tls (eq .Values.probes.protocol "grpc") }}{{ $faults = append $faults "probes.protocol=grpc is not possible with TLS: Kubernetes asks without; take http or exec" }}{{ end -}}
{{- range $name, $resources := dict "resources" .Values.resources "bundle.resources" .Values.bundle.resources "testResources" .Values.testResources }}
{{- $requests := $resources.requests | default dict }}
{{- if not (and (hasKey $requests "cpu") (hasKey $requests "memory")) }}{{ $faults = append $faults (printf "%s.requests of cpu and memory are required" $name) }}{{ end -}}
{{- end }}
{{- with .Values.autoscaling }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}{{ $faults = append $faults (printf "autoscaling.minReplicas %d is more than autoscaling.maxReplicas %d" (int .minReplicas) (int .maxReplicas)) }}{{ end -}}
{{- if and (ne .mode "none") (not (or .cpuUtilization .queueDepth .queueOldestS .extraMetrics .keda.extraTriggers)) }}{{ $faults = append $faults (printf "autoscaling.mode=%s needs one of cpuUtilization, queueDepth, queueOldestS, extraMetrics, keda.extraTriggers" .mode) }}{{ end -}}
{{- if and (eq .mode "keda") (or .queueDepth .queueOldestS) (not .keda.prometheusAddress) }}{{ $faults = append $faults "autoscaling.queueDepth and queueOldestS need autoscaling.keda.prometheusAddress with mode keda" }}{{ end -}}
{{- if and (eq .mode "keda") .extraMetrics }}{{ $faults = append $faults "autoscaling.extraMetrics belong to mode hpa; take autoscaling.keda.extraTriggers" }}{{ end -}}
{{- if and (eq .mode "hpa") .keda.extraTriggers }}{{ $faults = append $faults "autoscaling.keda.extraTriggers belong to mode keda; take autoscaling.extraMetrics" }}{{ end -}}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled (not (kindIs "invalid" .maxUnavailable)) (not (kindIs "invalid" .minAvailable)) }}{{ $faults = append $faults "podDisruptionBudget.maxUnavailable and minAvailable exclude each other" }}{{ end -}}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}{{ $faults = append $faults "ingress needs hosts" }}{{ end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}{{ $faults = append $faults "httpRoute needs parentRefs" }}{{ end -}}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) }}{{ $faults = append $faults "grpcRoute needs parentRefs" }}{{ end -}}
{{- with .Values.server }}
{{- $workers := .caseWorkers | default (include "nodogram-serving.cores" $) | int64 }}
{{- $needed := add (mul 2 (int64 .maximumCases) (int64 .maximumUploadBytes)) (mul $workers (int64 .maximumArchiveBytes)) }}
{{- if lt (include "nodogram-serving.bytes" $.Values.tmp.sizeLimit | int64) $needed }}{{ $faults = append $faults (printf "tmp.sizeLimit %v is less than the %d Mi that 2 x server.maximumCases %d x server.maximumUploadBytes %d + %d workers x server.maximumArchiveBytes %d may need: a pod that exceeds it is evicted, with every case in it" $.Values.tmp.sizeLimit (div (add $needed 1048575) 1048576) (int64 .maximumCases) (int64 .maximumUploadBytes) $workers (int64 .maximumArchiveBytes)) }}{{ end -}}
{{- end }}
{{- with .Values.shadow.release }}
{{- if not (or $.Values.httpRoute.enabled $.Values.grpcRoute.enabled) }}{{ $faults = append $faults "shadow.release needs httpRoute or grpcRoute: a gateway copies the requests" }}{{ end -}}
{{- if eq . $.Release.Name }}{{ $faults = append $faults "shadow.release is this release; name another one" }}{{ end -}}
{{- end }}
{{- if and .Values.gpu.resourceClaims (semverCompare "<1.34.0-0" .Capabilities.KubeVersion.Version) }}{{ $faults = append $faults (printf "gpu.resourceClaims need Kubernetes 1.34; this is %s" .Capabilities.KubeVersion.Version) }}{{ end -}}
{{- if $faults }}{{ fail (printf "\n%s" (join "\n" $faults)) }}{{ end -}}
{{- end }}
