//go:build !windows

package main

import "context"

// underManager runs f: only Windows has a service manager that wants to be answered.
func underManager(ctx context.Context, f func(context.Context) int) int { return f(ctx) }
