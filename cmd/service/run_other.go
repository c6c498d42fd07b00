//go:build !windows

package service

import "context"

// Run runs f: only Windows has a service manager that wants to be answered.
func Run(ctx context.Context, f func(context.Context) int) int { return f(ctx) }
