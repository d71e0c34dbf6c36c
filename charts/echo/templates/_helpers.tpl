{{/* Names leave room for the suffixes -headless and -test in the 63 characters of a DNS label. */}}
{{- define "echo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" }}
{{- end }}

{{- define "echo.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains (include "echo.name" .) .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "echo.name" .) | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "echo.selectorLabels" -}}
app.kubernetes.io/name: {{ include "echo.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "echo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "echo.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "echo.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Not empty when the program serves: -s or --serve is among its arguments. */}}
{{- define "echo.serves" -}}
{{- if or (has "-s" .Values.args) (has "--serve" .Values.args) }}true{{ end }}
{{- end }}

{{- define "echo.probe" -}}
{{- if eq .Values.probes.type "grpc" -}}
grpc:
  port: {{ .Values.containerPort }}
{{- else -}}
tcpSocket:
  port: grpc
{{- end }}
{{- end }}
