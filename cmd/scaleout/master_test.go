package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"scaleout/cluster"
	"scaleout/cmd/scaleout/settings"
)

// A setting that is set reaches the master, and the master shows it.
func TestEverySettingReachesTheMasterAndIsShown(t *testing.T) {
	withoutEffect := []string{"SqlConnectionTimeoutInSecs"}
	ofTheService := []string{"LogFolder"}
	shown := func(m settings.Master) map[string]string {
		cfg := masterConfig(m)
		return cfg.Settings(cfg.AdvertiseAddress, cluster.Timing{})
	}
	var defaults settings.Master
	settings.NewMaster(&defaults)
	before := shown(defaults)
	for i := range reflect.TypeFor[settings.Master]().NumField() {
		field := reflect.TypeFor[settings.Master]().Field(i)
		key, _, _ := strings.Cut(field.Tag.Get("key"), ",")
		if slices.Contains(slices.Concat(withoutEffect, ofTheService), key) {
			continue
		}
		t.Run(key, func(t *testing.T) {
			m := defaults
			switch v := reflect.ValueOf(&m).Elem().Field(i); v.Kind() {
			case reflect.Bool:
				v.SetBool(!v.Bool())
			case reflect.String:
				v.SetString(v.String() + "x")
			case reflect.Slice:
				v.Set(reflect.ValueOf([]string{"10.0.0.0/8"}))
			case reflect.Int64: // milliseconds are shown in whole ones
				v.SetInt(v.Int() + 1_000_000)
			default:
				v.SetInt(v.Int() + 1)
			}
			got, ok := shown(m)[key]
			if !ok || got == before[key] {
				t.Errorf("%q is shown for it, and was before it was changed", got)
			}
		})
	}
}
