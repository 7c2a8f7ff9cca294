{{/*
The labels of every object. The selectors are fixed: `tracer` and the Service of the relays find pods by them, and an
installation by kustomize has the same.
*/}}
{{- define "tracer.labels" -}}
app.kubernetes.io/name: tracer
app.kubernetes.io/part-of: tracer
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tracer.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "tracer.agent.selector" -}}
app.kubernetes.io/name: tracer
app.kubernetes.io/component: agent
{{- end }}

{{- define "tracer.relay.selector" -}}
app.kubernetes.io/name: tracer
app.kubernetes.io/component: relay
{{- end }}
